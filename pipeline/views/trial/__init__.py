"""`gristmill try`: one file through the stages that need one document only."""
