"""`gristmill plan`: what a run will do and take, from sizes and measured rates, before it does it."""
