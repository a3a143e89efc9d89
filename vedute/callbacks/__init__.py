"""Lightning callbacks; they use only what GenerativeModule promises."""
