"""The demo: a client of the public API that teaches three concepts twice and shows what each cost the earlier ones."""
