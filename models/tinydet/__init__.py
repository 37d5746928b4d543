"""tinydet: our one-class, anchor-free person detector for edge devices."""
