export { parsePurge } from '../cache/site/announcement.ts';

export const CONTROL_PATHS = { images: '/images', stats: '/stats', purge: '/purge' } as const;
