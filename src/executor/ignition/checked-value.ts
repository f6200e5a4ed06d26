import { ExecutorError } from '../executor-error.ts';

/*
 * What stands in a file of its own may be anything. The forms below are for values that become one line of a file, a
 * part of a path or the name of an image. One that does not fit is refused; the message never repeats it.
 */

/** A value that stays one line, byte for byte. */
export function oneLine(name: string, value: string): string {
  // Also what readers of such files take for the end of a line, and halves of characters, which have no bytes.
  if (/[\x00-\x1f\x7f\u0085\u2028\u2029]/.test(value) || !value.isWellFormed())
    throw unfit(name, 'must be a single line of text');
  return value;
}

/** The name of an environment variable. */
export function variableName(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    throw unfit('The name of a variable', 'must be made of letters, digits and _');
  return name;
}

/** `host` or `host:port`: it becomes the name of a folder. */
export function hostName(name: string, value: string): string {
  if (!/^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/.test(value))
    throw unfit(name, 'must be host or host:port');
  return value;
}

/** `[registry/]name[:tag]` without options in front of it. */
export function imageReference(image: string, tag: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?$/.test(image))
    throw unfit('WORKER_IMAGE', 'must be the name of an image');
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(tag))
    throw unfit('WORKER_TAG', 'must be the tag of an image');
  return image.includes('@') ? image : `${image}:${tag}`;
}

/** Whole seconds, rounded up. */
export function seconds(name: string, milliseconds: number): number {
  const whole = Math.ceil(milliseconds / 1000);
  if (!Number.isSafeInteger(whole) || whole <= 0) throw unfit(name, 'must be a number of seconds');
  return whole;
}

function unfit(name: string, why: string): ExecutorError {
  return new ExecutorError(
    'misconfigured',
    `${name} ${why} to be given to a virtual machine. Correct it in the configuration.`,
  );
}
