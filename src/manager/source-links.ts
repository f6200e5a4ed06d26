import type { UploadId } from '../model/ids.ts';
import type { WorkerIdentity } from './worker-sessions.ts';

/** Where workers fetch what was uploaded. */
export interface SourceLinks {
  /** A signed URL that only this attempt may fetch from, as long as it is current. Undefined: the upload is gone. */
  packageUrl(identity: WorkerIdentity, uploadId: UploadId): Promise<string | undefined>;
}
