/**
 * Why a build or an attempt failed. The codes are the ones users, API clients and notifications see; a code never
 * changes its meaning. `owner` decides what happens next:
 *
 * - user: the Dockerfile or the source is at fault; no retry, the build ends in `error`
 * - slipway: our own fault; retried, and the try is given back
 * - infrastructure: registry, network, disk, machine; retried, and the try is used up
 */
export type FaultOwner = 'user' | 'slipway' | 'infrastructure';

export interface Fault {
  readonly code: FaultCode;
  /** For a person: what happened, why, what to do next. Holds no secret. */
  readonly message: string;
}

/** One row a code: whose fault it is, and what it means. The only place that decides this. */
export const faultTable = {
  gitfailure: { owner: 'user', meaning: 'the git repository could not be cloned' },
  gitcheckout: { owner: 'user', meaning: 'the commit or ref could not be checked out' },
  cannotextractbuildpack: {
    owner: 'user',
    meaning: 'the uploaded or downloaded archive could not be extracted',
  },
  packagefetch: {
    owner: 'infrastructure',
    meaning: 'the build package could not be downloaded from Slipway',
  },
  archivefetch: { owner: 'user', meaning: 'the archive URL could not be downloaded' },
  sourcetoolarge: { owner: 'user', meaning: 'the source is larger than the limits allow' },
  contextmissing: { owner: 'user', meaning: 'the context folder is not in the source, or leads out of it' },
  dockerfilemissing: { owner: 'user', meaning: 'the Dockerfile is not in the source, or leads out of it' },
  dockerfileissue: {
    owner: 'user',
    meaning: 'the Dockerfile cannot be parsed or uses something this engine cannot do',
  },
  cannotpullbaseimage: { owner: 'user', meaning: 'a base image does not exist or needs credentials' },
  baseimageregistry: { owner: 'infrastructure', meaning: 'the registry of a base image does not answer' },
  builderror: { owner: 'user', meaning: 'a step of the Dockerfile failed' },
  pushissue: { owner: 'infrastructure', meaning: 'the image could not be pushed' },
  publishissue: { owner: 'infrastructure', meaning: 'the tags could not be put on the pushed image' },
  registryrefused: {
    owner: 'user',
    meaning: 'the registry that the repository publishes to refused the image: credentials, permission, form',
  },
  registryunreachable: {
    owner: 'infrastructure',
    meaning: 'the registry that the repository publishes to did not answer, or failed, in all tries',
  },
  diskfull: { owner: 'infrastructure', meaning: 'the disk of the worker or of the server is full' },
  outofmemory: { owner: 'user', meaning: 'a process of the build was ended for using too much memory' },
  toolong: { owner: 'user', meaning: 'the build ran longer than MACHINE_MAX_TIME' },
  enginemissing: { owner: 'infrastructure', meaning: 'no build engine is installed where the worker runs' },
  enginefailed: { owner: 'infrastructure', meaning: 'the build engine failed for a reason of its own' },
  workerlost: { owner: 'infrastructure', meaning: 'the worker died or stopped answering' },
  workernotstarted: { owner: 'slipway', meaning: 'no executor could start a worker' },
  workernotregistered: { owner: 'infrastructure', meaning: 'the worker did not register in time' },
  managerlost: { owner: 'slipway', meaning: 'the build manager could not go on with the attempt' },
  sourcemissing: { owner: 'slipway', meaning: 'the build has no source that a worker could fetch' },
  internalerror: { owner: 'slipway', meaning: 'something in Slipway failed' },
} as const satisfies Record<string, { owner: FaultOwner; meaning: string }>;

export type FaultCode = keyof typeof faultTable;

export function parseFaultCode(text: string): FaultCode | undefined {
  return Object.hasOwn(faultTable, text) ? (text as FaultCode) : undefined;
}

export function ownerOf(code: FaultCode): FaultOwner {
  return faultTable[code].owner;
}
