import { cutText } from '../base/cut-text.ts';
import { unreachable } from '../base/unreachable.ts';
import type { StageReport } from '../manager/worker-sessions.ts';
import type { PushedImage, WorkerStage } from '../model/attempt.ts';
import { parseDigest } from '../model/digest.ts';
import { type FaultOwner, ownerOf, parseFaultCode } from '../model/fault.ts';
import { parseHostKey } from '../model/host-key.ts';
import {
  Phase,
  type SetPhaseRequest,
  type PushedImage as WireImage,
  FaultOwner as WireOwner,
  type WorkerFault,
} from './generated/buildman.ts';

/** A fault's message is shown and stored; nothing that explains a failure is longer. */
const maximumMessage = 16_384;
/** A source has no more servers than submodules. */
const mostHostKeys = 200;

/** Undefined: not a phase that a worker reports. */
export function reportFromWire(request: SetPhaseRequest): StageReport | undefined {
  switch (request.phase) {
    case Phase.WAITING:
      return undefined;
    case Phase.UNPACKING:
      return stage('unpacking', request);
    case Phase.PULLING:
      return stage('pulling', request);
    case Phase.BUILDING:
      return stage('building', request);
    case Phase.PUSHING:
      return stage('pushing', request);
    case Phase.COMPLETE: {
      const image = imageFromWire(request.image);
      return { kind: 'complete', ...(image === undefined ? {} : { image }) };
    }
    case Phase.ERROR:
      return { kind: 'error', ...faultFromWire(request.fault) };
    default:
      // The wire may carry numbers that a newer peer knows.
      return undefined;
  }
}

function stage(name: WorkerStage, { pullMetadata, commit, gitHostKeys }: SetPhaseRequest): StageReport {
  const hostKeys = gitHostKeys.slice(0, mostHostKeys).flatMap((key) => parseHostKey(key) ?? []);
  return {
    kind: 'stage',
    stage: name,
    ...(pullMetadata === undefined
      ? {}
      : {
          pullMetadata: {
            registry_url: pullMetadata.registryUrl,
            base_image: pullMetadata.baseImage,
            base_image_tag: pullMetadata.baseImageTag,
            pull_username: pullMetadata.pullUsername,
          },
        }),
    ...(commit === '' ? {} : { commit }),
    ...(hostKeys.length === 0 ? {} : { gitHostKeys: hostKeys }),
  };
}

function imageFromWire(image: WireImage | undefined): PushedImage | undefined {
  const digest = parseDigest(image?.digest ?? '');
  return image === undefined || digest === undefined ? undefined : { digest, size: Math.max(0, image.size) };
}

function faultFromWire(
  fault: WorkerFault | undefined,
): Pick<StageReport & { kind: 'error' }, 'fault' | 'owner'> {
  if (fault === undefined) return {};
  const code = parseFaultCode(fault.code) ?? 'internalerror';
  const owner = ownerFromWire(fault.owner);
  return {
    fault: { code, message: cutText(fault.message, maximumMessage) },
    ...(owner === undefined ? {} : { owner }),
  };
}

function ownerFromWire(owner: WireOwner): FaultOwner | undefined {
  switch (owner) {
    case WireOwner.USER:
      return 'user';
    case WireOwner.SLIPWAY:
      return 'slipway';
    case WireOwner.INFRASTRUCTURE:
      return 'infrastructure';
    default:
      return undefined;
  }
}

/** The fields of SetPhaseRequest that carry a report. */
export function reportToWire(report: StageReport): Omit<SetPhaseRequest, 'jobJwt' | 'sequenceNumber'> {
  const empty = {
    pullMetadata: undefined,
    fault: undefined,
    image: undefined,
    commit: '',
    gitHostKeys: [],
  };
  switch (report.kind) {
    case 'stage':
      return {
        ...empty,
        phase: stagePhase[report.stage],
        pullMetadata: metadataToWire(report.pullMetadata),
        commit: report.commit ?? '',
        gitHostKeys: [...(report.gitHostKeys ?? [])],
      };
    case 'complete':
      return {
        ...empty,
        phase: Phase.COMPLETE,
        image: report.image === undefined ? undefined : { ...report.image, mediaType: '' },
      };
    case 'error':
      return { ...empty, phase: Phase.ERROR, fault: faultToWire(report) };
    default:
      return unreachable(report);
  }
}

const stagePhase: Readonly<Record<WorkerStage, Phase>> = {
  unpacking: Phase.UNPACKING,
  pulling: Phase.PULLING,
  building: Phase.BUILDING,
  pushing: Phase.PUSHING,
};

function metadataToWire(
  metadata: Readonly<Record<string, string>> | undefined,
): SetPhaseRequest['pullMetadata'] {
  if (metadata === undefined) return undefined;
  return {
    registryUrl: metadata.registry_url ?? '',
    baseImage: metadata.base_image ?? '',
    baseImageTag: metadata.base_image_tag ?? '',
    pullUsername: metadata.pull_username ?? '',
  };
}

const wireOwner: Readonly<Record<FaultOwner, WireOwner>> = {
  user: WireOwner.USER,
  slipway: WireOwner.SLIPWAY,
  infrastructure: WireOwner.INFRASTRUCTURE,
};

function faultToWire({ fault, owner }: StageReport & { kind: 'error' }): WorkerFault | undefined {
  if (fault === undefined) return undefined;
  return { ...fault, owner: wireOwner[owner ?? ownerOf(fault.code)] };
}
