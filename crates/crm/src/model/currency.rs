//! How many decimals the amounts of a currency have. An amount is stored in the smallest unit: cents, yen, fils.

/// The decimals of the currencies that do not have two, by ISO 4217. The pages' `amounts.js` has the same table.
pub const DECIMALS: &[(&str, usize)] = &[
    ("BHD", 3),
    ("BIF", 0),
    ("CLF", 4),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("UYW", 4),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// The decimals of a currency by its code, in whatever case. A currency that is not known has two.
pub fn decimals(code: &str) -> usize {
    DECIMALS.iter().find(|(it, _)| it.eq_ignore_ascii_case(code.trim())).map_or(2, |(_, decimals)| *decimals)
}
