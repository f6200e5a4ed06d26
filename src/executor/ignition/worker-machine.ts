/** What the configuration says of the virtual machines that one executor starts. */
export interface WorkerMachine {
  /** The worker's image and its tag. */
  readonly image: string;
  readonly tag: string;
  /** For the registry of that image. */
  readonly imageCredentials?: { readonly username: string; readonly password: string };
  readonly containerRuntime: 'docker' | 'podman';
  /** Milliseconds after which the machine powers off, whatever it does. */
  readonly maxLifetime: number;
  readonly sshAuthorizedKeys: readonly string[];
  /** PEM texts: what the machine and its worker trust beside the public authorities. */
  readonly authorities: readonly string[];
  /** HTTP_PROXY, HTTPS_PROXY, NO_PROXY: those that are set. */
  readonly proxies: Readonly<Record<string, string>>;
  /** The machine stays after its worker ended. */
  readonly debug: boolean;
}
