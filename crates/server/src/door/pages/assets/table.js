// See core.js for what it offers.
