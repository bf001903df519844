"""The program of the flex template's launcher (FLEX_TEMPLATE_PYTHON_PY_FILE), outside the packages."""

from pipelines.runners import flex

if __name__ == "__main__":
    flex.main()
