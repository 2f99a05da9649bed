declare const brand: unique symbol;

/** A value that only its parser makes, so that it cannot be passed where another kind is meant. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A span of time, or a point on a {@link Clock}, in milliseconds. */
export type Milliseconds = Brand<number, 'Milliseconds'>;
/** A size in bytes. */
export type Bytes = Brand<number, 'Bytes'>;

export const ms = (value: number): Milliseconds => value as Milliseconds;
export const seconds = (value: number): Milliseconds => (value * 1000) as Milliseconds;
export const bytes = (value: number): Bytes => value as Bytes;
export const MiB = 1024 * 1024;
