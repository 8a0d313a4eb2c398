"""Models of other packages as scikit-learn estimators of a table."""
