import { randomUUID } from 'node:crypto';

/** A string that only its own parse function makes. */
export type Branded<Name extends string> = string & { readonly __brand: Name };

export type BuildId = Branded<'BuildId'>;
export type JobId = Branded<'JobId'>;
export type AttemptId = Branded<'AttemptId'>;
export type UploadId = Branded<'UploadId'>;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Ids are lower-case UUIDs: they stand in paths, tokens and Kubernetes labels, so nothing else is let in. */
export function idParser<Id extends string>() {
  return (text: string): Id | undefined => (uuid.test(text) ? (text as Id) : undefined);
}

export const parseBuildId = idParser<BuildId>();
export const parseJobId = idParser<JobId>();
export const parseAttemptId = idParser<AttemptId>();
export const parseUploadId = idParser<UploadId>();

export const newBuildId = (): BuildId => randomUUID() as BuildId;
export const newJobId = (): JobId => randomUUID() as JobId;
export const newAttemptId = (): AttemptId => randomUUID() as AttemptId;
export const newUploadId = (): UploadId => randomUUID() as UploadId;
