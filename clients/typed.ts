/** Returns `value`. Does not compile if the type of `value` is `any`, which is what a generator writes for a schema that it cannot read. */
export function typed<T>(value: 0 extends 1 & T ? never : T): T {
  return value as T;
}

/** The code of an error. Relm's errors are objects, except the answer to a request without a key. */
export function code(fault: { error: string | { code: string } } | undefined): string | undefined {
  return typeof fault?.error === "object" ? fault.error.code : fault?.error;
}
