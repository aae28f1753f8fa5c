// Amounts are stored in a currency's smallest unit, and typed and shown in its main unit.

// The decimals of the currencies that do not have two, by ISO 4217. A test compares them with those of the server.
const DECIMALS = {
  BHD: 3, BIF: 0, CLF: 4, CLP: 0, DJF: 0, GNF: 0, IQD: 3, ISK: 0, JOD: 3, JPY: 0, KMF: 0, KRW: 0, KWD: 3, LYD: 3, OMR: 3, PYG: 0, RWF: 0, TND: 3,
  UGX: 0, UYI: 0, UYW: 4, VND: 0, VUV: 0, XAF: 0, XOF: 0, XPF: 0,
};

/** The decimals of a currency. One that is not known has two. */
export const decimalsOf = (currency) => {
  const code = String(currency ?? "").trim().toUpperCase();
  return Object.hasOwn(DECIMALS, code) ? DECIMALS[code] : 2;
};
/** An amount of the smallest unit, as people read it: 123450 and EUR are "1,234.50 EUR". Anything else stays as it is. */
export const shownAmount = (amount, currency) => {
  const [, sign, digits] = /^(-?)(\d+)$/.exec(String(amount)) ?? [], decimals = decimalsOf(currency);
  if (digits === undefined) return String(amount);
  const padded = digits.padStart(decimals + 1, "0"), whole = padded.slice(0, padded.length - decimals), part = padded.slice(padded.length - decimals);
  return `${sign}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}${part && "." + part} ${currency ?? ""}`.trim();
};
/** What a person typed, such as "1,234.50", in the smallest unit, as text. Commas stand between groups of three digits only, so that no
 *  amount is a hundred times too large. */
export const typedAmount = (typed, currency) => {
  const decimals = decimalsOf(currency), parts = /^([+-]?)\s*(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?$/.exec(typed.trim()), part = parts?.[3] ?? "";
  // Where there are fewer decimals, ".00" says nothing more.
  if (!parts || part.length > Math.max(2, decimals) || /[1-9]/.test(part.slice(decimals))) {
    const example = "1,234" + (decimals ? "." + "5".padEnd(decimals, "0") : "");
    throw new Error(`An amount${decimals === 2 ? "" : ` in ${String(currency).trim()}`} is written like ${example}.`);
  }
  const digits = (parts[2].replaceAll(",", "") + part.slice(0, decimals).padEnd(decimals, "0")).replace(/^0+(?=\d)/, "");
  return (parts[1] === "-" && digits !== "0" ? "-" : "") + digits;
};
