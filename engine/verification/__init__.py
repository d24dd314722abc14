"""The checks of ``perpwalk verify``, in the order in which one stands on the other."""
