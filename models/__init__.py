"""`lawful.models`: ordinary programs, written with the public language and run by the public inference."""

if __name__ == "models":
    raise ImportError(
        "import lawful.models, not models: "
        "the folder models/ is installed as the package lawful.models (run make setup)"
    )

__all__: list[str] = []
