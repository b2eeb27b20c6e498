"""What names and rules look like, and the same in words, for a user who gave another."""

CONCEPT_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
CLASS_NOUN = r"^[^<>\\\x00-\x1f]+$"
BASE_MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
STEP_RULES = r"^(\d+(\.\d+)?:\d+,)+\d+(\.\d+)?$"
MODULE_NAME = r"^[\w.]+$"

IN_WORDS = {
    CONCEPT_NAME: "a name has 1 to 64 of a to z, 0 to 9, - and _, no capitals; the first is a letter or a digit",
    CLASS_NOUN: "a class noun has no <, no >, no backslash and no line break",
    BASE_MODEL_NAME: "a name has 1 to 64 characters: letters, digits, dots, - and _; the first is a letter or a digit",
    STEP_RULES: "rules are factors and the steps at which they end, and a last factor, such as 1:100,0.1:200,0.01",
    MODULE_NAME: "a module's name has letters, digits, _ and dots, such as to_out.0",
}
