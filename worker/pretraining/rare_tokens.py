"""The reserve of rare words: no meaning, easy to say, each a single token. A learned concept takes one of them."""

_WORDS = (
    "brosk flaf zwult frulm drasp kemb stev kliz glix besk felp blilm sneb tarv wemb prirv "
    "zolm spilf gelf glak vlag venk blonk zuld blurk nimb pruk vlork jenk klab zilf drex "
    "gusk brimb garv zwig skix truf prarv karsk vurg frerk brez kleb wirv wusk flulm griv "
    "fank plilf fliv kimb troz kelm krod porv krarg flerv bolp zorv zerk nilp sniz grarg"
)
RARE_TOKENS: tuple[str, ...] = tuple(_WORDS.split())
