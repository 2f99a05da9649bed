/** How often each key was used, since the last time that it was told. Plain data: workers and the keeper send it to each other. */
export type Usage = readonly (readonly [key: string, uses: number])[];
