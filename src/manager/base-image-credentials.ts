/** What a worker needs to pull base images from one registry outside of Slipway. */
export interface BaseImageRegistry {
  /** `host[:port]`, or `host[:port]/path` for what lies below that path alone. */
  readonly registry: string;
  readonly username: string;
  readonly password: string;
  /** Plain HTTP. */
  readonly insecure: boolean;
  /** PEM of certificate authorities besides the machine's. */
  readonly ca?: string;
}

/** The registries that builds of a namespace may pull base images from with credentials. */
export interface BaseImageCredentials {
  ofNamespace(namespace: string): Promise<readonly BaseImageRegistry[]>;
}
