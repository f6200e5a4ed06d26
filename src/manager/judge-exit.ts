import { type AttemptState, type Outcome, outcomeOfFault } from '../model/attempt.ts';
import { type FaultCode, ownerOf } from '../model/fault.ts';

export interface WorkerExit {
  readonly state: AttemptState;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly reason: string;
  readonly output?: string;
  /** The last lines of the build's log, the newest last. */
  readonly lastLines: readonly string[];
}

/** What a line says went wrong, wherever it stands. The first that fits decides. */
const anywhere: readonly (readonly [RegExp, FaultCode])[] = [
  [/no space left on device/i, 'diskfull'],
  [
    /dockerfile parse error|unknown instruction|unknown flag:|file with no instructions|syntax error in dockerfile/i,
    'dockerfileissue',
  ],
  [
    /(cannot|can't|failed to|unable to) (locate|find|read|open).*dockerfile|dockerfile.*(no such file|not found)/i,
    'dockerfilemissing',
  ],
];

const byState: Partial<Record<AttemptState, readonly (readonly [RegExp, FaultCode])[]>> = {
  unpacking: [
    [/git checkout|pathspec|reference is not a tree|did not match any/i, 'gitcheckout'],
    [
      /git (clone|fetch)|repository not found|permission denied \(publickey\)|host key verification/i,
      'gitfailure',
    ],
    [/invalid tar|gzip:|not a valid zip|unexpected eof|archive/i, 'cannotextractbuildpack'],
  ],
  pulling: [
    [/timeout|connection refused|no such host|tls|unavailable|50[0-9] /i, 'baseimageregistry'],
    [
      /manifest unknown|not found|unauthorized|denied|does not exist|no such image|authentication required/i,
      'cannotpullbaseimage',
    ],
  ],
  building: [
    [/manifest unknown|pull access denied|unauthorized|name unknown|no such image/i, 'cannotpullbaseimage'],
    [
      /returned a non-zero code|exit (status|code)|error building|executor failed|(copy|add) failed|failed to (build|solve)|command .* failed/i,
      'builderror',
    ],
  ],
  pushing: [[/./, 'pushissue']],
};

/** Where nothing more is known: what most likely failed there when a worker exits by itself. */
const usual: Partial<Record<AttemptState, FaultCode>> = {
  pulling: 'cannotpullbaseimage',
  building: 'builderror',
  pushing: 'pushissue',
};

const quoted = 5;

/**
 * Why a worker that never reports an error has exited: a worker that knows only the shared part of the protocol logs
 * what went wrong and exits with a status that is not 0. Undefined: it did not end so (killed, or status 0 or unknown),
 * so it was lost.
 */
export function judgeExit(exit: WorkerExit): Outcome | undefined {
  const { exitCode, signal, state, lastLines } = exit;
  // Statuses over 128 are signals: somebody or something ended it.
  if (signal !== undefined || exitCode === undefined || exitCode === 0 || exitCode > 128) return undefined;
  const rules = [...anywhere, ...(byState[state] ?? [])];
  for (const line of [...lastLines].reverse()) {
    const code = rules.find(([pattern]) => pattern.test(line))?.[1];
    if (code !== undefined) return outcome(code, lastLines, exit);
  }
  const code = usual[state];
  // Without a word in the log it is not the user's Dockerfile that failed.
  return code === undefined || lastLines.length === 0 ? undefined : outcome(code, lastLines, exit);
}

function outcome(code: FaultCode, lastLines: readonly string[], { state, exitCode }: WorkerExit): Outcome {
  const words = lastLines.filter((line) => line.trim() !== '').slice(-quoted);
  const message = `The worker gave up while the build was ${state} (status ${exitCode}). The log ends with:\n${words.join('\n')}`;
  return outcomeOfFault({ code, message }, ownerOf(code));
}
