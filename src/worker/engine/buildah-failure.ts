import { EngineError, type EngineErrorCode } from './engine-error.ts';

/** What is known of a buildah process that ended badly. */
export interface BuildahFailure {
  readonly operation: 'build' | 'push';
  /** undefined: a signal ended it. */
  readonly status: number | undefined;
  /** Its last output lines, oldest first. */
  readonly lines: readonly string[];
  /** The fewest free bytes seen where its store is, while it ran. */
  readonly freeBytes: number;
  /** Push: `host[:port]/path`. */
  readonly destination?: string;
}

/**
 * Explains a failure from buildah's last words. Its own message is the last line that begins with `Error: `: what
 * RUN steps print stands before it, so a step cannot pass itself off as something else.
 */
export function explainFailure(failure: BuildahFailure): EngineError {
  const { lines, status } = failure;
  const at = lines.findLastIndex((line) => line.startsWith('Error: '));
  const own = at < 0 ? '' : lines.slice(at).join(' ').slice('Error: '.length).trim();
  const before = lines.slice(0, at < 0 ? lines.length : at);

  // Behind the last quote: what stands in quotes is the user's.
  if (/(?:no space left on device|disk quota exceeded)[^"]*$/i.test(own) || failure.freeBytes < nearlyFull) {
    return error(
      'diskfull',
      'The disk of the build machine is full. Free space in the data folder, or lower how long images are kept.',
      own,
    );
  }
  if (at < 0) return withoutWords(status, before);
  return failure.operation === 'push' ? explainPush(own, failure) : explainBuild(own, before);
}

const nearlyFull = 16 * 1024 * 1024;

/** What unshare says when process 1 of its namespace was killed: it cannot end itself by the same signal. */
const killedInside = /^unshare: sigprocmask unblock failed/;

function withoutWords(status: number | undefined, lines: readonly string[]): EngineError {
  const killed = lines.some((line) => killedInside.test(line));
  const unshare = lines.findLast((line) => /^(?:unshare|newuidmap|newgidmap): /.test(line));
  if (unshare !== undefined && !killed) {
    return error(
      'enginemissing',
      `The build engine cannot make its namespaces (${clipped(unshare)}). The worker's account needs ranges in ` +
        '/etc/subuid and /etc/subgid, the package uidmap, and user namespaces allowed by the kernel.',
    );
  }
  const missing = lines.findLast((line) => /No such file or directory|not found/.test(line));
  if (status === 127 && missing !== undefined) {
    return error('enginemissing', `buildah could not be started (${clipped(missing)}). Install it.`);
  }
  const how =
    killed || status === undefined || status === 137
      ? 'was killed from outside, perhaps for want of memory'
      : `ended with status ${status}`;
  return error(
    'enginefailed',
    `buildah ${how} and said no reason.${lastWords(lines.filter((line) => !killedInside.test(line)))}`,
  );
}

function explainBuild(own: string, before: readonly string[]): EngineError {
  const run = /building at STEP "(.*)": (?:while running runtime: )?exit status (\d+)$/s.exec(own);
  if (run !== null) return explainRun(run[1] ?? '', Number(run[2]), before);

  const step = /building at STEP "(.*?)": (.*)$/s.exec(own);
  const reason = step?.[2] ?? own;
  const instruction = step?.[1] ?? '';
  const at = step === null ? '' : ` in step "${clipped(instruction)}"`;

  const base = explainBaseImage(own);
  if (base !== undefined) return base;

  const noStage = /COPY --from=(\S+): no stage or image found with that name/.exec(own);
  if (noStage !== null) {
    return error(
      'dockerfileissue',
      `COPY --from=${clipped(noStage[1] ?? '')}: there is no stage of that name before it, and no such image can be pulled.`,
      own,
    );
  }
  const missing = /copier: stat: \[?"(.*?)"\]?: no such file or directory/.exec(reason);
  if (missing !== null) {
    const escaping = reason.includes('escaping context directory');
    const fromStage = /--from=(\S+)/.exec(instruction)?.[1];
    const where =
      fromStage !== undefined
        ? `is not in ${clipped(fromStage)}`
        : escaping
          ? 'leads out of the context; only files of the context can be copied'
          : 'is not in the context, or .dockerignore leaves it out';
    return error('builderror', `${clipped((missing[1] ?? '').replace(/^\//, ''))} ${where}${at}.`, own);
  }
  const unknown = /Unknown instruction: "([^"]*)"/.exec(own);
  if (unknown !== null) {
    return error(
      'dockerfileissue',
      `The Dockerfile holds the unknown instruction ${clipped(unknown[1] ?? '')}.`,
      own,
    );
  }
  if (dockerfileProblem.test(own)) {
    return error('dockerfileissue', `The Dockerfile cannot be built: ${clipped(reason)}${at}.`, own);
  }
  if (step !== null) {
    return error('builderror', `A step of the Dockerfile failed: ${clipped(reason)}${at}.`, own);
  }
  return error('enginefailed', `buildah failed: ${clipped(own)}`, own);
}

const dockerfileProblem =
  /no contents in|no FROM statement|no stages to build|only supports? the|requires (?:at least|exactly|at most|an|one|two)|syntax error|was not found in the provided Dockerfile|unterminated|unknown (?:flag|mount type)|must have|bad parameter|invalid (?:reference format|field|mount|containerPort)|unexpected end of statement|parsing|resolving mountpoints|Building .* is rejected by policy|rejected by policy/i;

function explainRun(instruction: string, status: number, before: readonly string[]): EngineError {
  const creation = before.findLastIndex((line) => /creating container for \[/.test(line));
  if (creation >= 0 && before.length - creation <= 6) {
    const text = before.slice(creation).join(' ');
    const program = /unable to start container process: exec: \\?"(.*?)\\?": (?:stat .*?: )?([^"]*)/.exec(
      text,
    );
    if (program === null) {
      return error(
        'enginefailed',
        `The container of step "${clipped(instruction)}" could not be started: ${clipped(text)}`,
      );
    }
    const reason = (program[2] ?? '').trim();
    const name = clipped(program[1] ?? '');
    const why = /no such file|not found/.test(reason)
      ? 'is not in the image'
      : `cannot be run (${clipped(reason)})`;
    return error('builderror', `${name}, which step "${clipped(instruction)}" runs, ${why}.`, text);
  }
  const signal = status > 128 && status <= 128 + 64 ? `: signal ${status - 128}${killHint(status)}` : '';
  return error(
    'builderror',
    `The step "${clipped(instruction)}" failed with exit status ${status}${signal}.`,
  );
}

function killHint(status: number): string {
  return status === 137 ? ', often for want of memory' : '';
}

function explainBaseImage(own: string): EngineError | undefined {
  const named =
    /(?:initializing source|reading manifest \S+ in|choosing an image from manifest list) (?:docker:\/\/)?([^\s:]+(?::\d+\/[^\s:]+)?(?::[\w.-]+)?)/.exec(
      own,
    );
  const source = /initializing source docker:\/\/(\S+?): /.exec(own)?.[1] ?? named?.[1];
  if (
    /rejected by policy|referred to by ID|could not get an image name|initializing source (?!docker:)[\w-]+:/i.test(
      own,
    )
  ) {
    return error(
      'dockerfileissue',
      'A base image is not in a registry. Push it to a registry and name it there.',
      own,
    );
  }
  if (source === undefined) return undefined;
  const image = clipped(source);
  const host = source.split('/')[0] ?? source;
  // Without the names in it: an image may be called `denied:403`.
  const reply = own.slice(own.indexOf(source) + source.length).replace(/reading manifest \S+ in \S+:/, '');
  if (/toomanyrequests|too many requests|\b429\b/i.test(reply)) {
    return error(
      'baseimageregistry',
      `The registry of base image ${image} limits how often it is asked. Try again later, or log in to it.`,
      own,
    );
  }
  if (/unauthorized|authentication required|invalid username|denied|forbidden|\b40[13]\b/i.test(reply)) {
    return error(
      'cannotpullbaseimage',
      `The base image ${image} needs credentials, or ${host} hides that it does not exist. Check its name. In Slipway's own registry a build pulls what the person who asked for it may pull.`,
      own,
    );
  }
  if (/manifest unknown|name unknown|not found|\b404\b/i.test(reply)) {
    return error(
      'cannotpullbaseimage',
      `The base image ${image} does not exist. Check its name and tag.`,
      own,
    );
  }
  if (/no such host/i.test(reply)) {
    return error(
      'cannotpullbaseimage',
      `The base image ${image} cannot be pulled: the host name of its registry is unknown. Check the name, and whether this machine reaches that network.`,
      own,
    );
  }
  if (/no image found in manifest list|no image found in image index|architecture/i.test(own)) {
    return error(
      'cannotpullbaseimage',
      `The base image ${image} does not exist for the platform of this build.`,
      own,
    );
  }
  return error(
    'baseimageregistry',
    `The registry of base image ${image} does not answer as it should: ${clipped(reply.replace(/^: /, ''))}`,
    own,
  );
}

function explainPush(own: string, { destination = 'the registry' }: BuildahFailure): EngineError {
  return error('pushissue', `The image could not be pushed to ${destination}: ${clipped(own)}`, own);
}

/** Whether trying the push again may help: not when the registry refused what it was given. */
export function pushMayRecover(lines: readonly string[]): boolean {
  const own = lines.findLast((line) => line.startsWith('Error: ')) ?? '';
  return !/unauthorized|authentication required|denied|forbidden|\b40[0134]\b|name unknown|manifest invalid|no such image|no space left/i.test(
    own,
  );
}

function lastWords(lines: readonly string[]): string {
  const last = lines.findLast((line) => line.trim() !== '');
  return last === undefined ? '' : ` Its last line: ${clipped(last)}`;
}

/** One line, bounded, nothing that moves a terminal's cursor. */
function clipped(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return clean.length <= 300 ? clean : `${clean.slice(0, 299)}…`;
}

function error(code: EngineErrorCode, message: string, cause?: string): EngineError {
  return new EngineError(code, message, cause === undefined || cause === '' ? undefined : new Error(cause));
}
