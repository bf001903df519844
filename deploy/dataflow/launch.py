"""What the flex template's launcher runs (FLEX_TEMPLATE_PYTHON_PY_FILE): a file of its own, outside the packages."""

from pipelines.runners import flex

if __name__ == "__main__":
    flex.main()
