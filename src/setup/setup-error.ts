import { CodedError } from '../base/coded-error.ts';

/**
 * - packages-missing: Debian packages are missing and may not be installed by this user; the message has the command
 * - apt-failed: installing them failed
 * - no-subuid: this user has no subordinate ids, so rootless builds cannot run
 * - devices-closed: /dev/net/tun or /dev/fuse may not be opened
 * - account-failed: the account workers run as could not be made
 * - namespaces-closed: the kernel is set so that ordinary users make no user namespaces, which rootless builds need
 * - machine-locked: another set-up holds this machine's lock
 * - data-folder: the data folder cannot be used
 * - folder-closed: the account workers run as cannot get to the data folder or to the program
 * - already-running: another server uses the data folder
 * - port-taken: something else listens on the port
 * - wrong-secret-key: the database was sealed with another key than the one configured
 */
export type SetupErrorCode =
  | 'packages-missing'
  | 'apt-failed'
  | 'no-subuid'
  | 'devices-closed'
  | 'account-failed'
  | 'namespaces-closed'
  | 'machine-locked'
  | 'data-folder'
  | 'folder-closed'
  | 'already-running'
  | 'port-taken'
  | 'wrong-secret-key';

export class SetupError extends CodedError<SetupErrorCode> {}
