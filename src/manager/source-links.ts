import type { BuildId, UploadId } from '../model/ids.ts';
import type { WorkerIdentity } from './worker-sessions.ts';

/** Where workers fetch what was uploaded, and what they need for private git repositories. */
export interface SourceLinks {
  /** A signed URL that only this attempt may fetch from, as long as it is current. Undefined: the upload is gone. */
  packageUrl(identity: WorkerIdentity, uploadId: UploadId): Promise<string | undefined>;
  /** The private key of the trigger that made the build; undefined: none is needed. */
  privateKey(buildId: BuildId): Promise<string | undefined>;
}
