import type { RepositoryName } from '../model/repository-name.ts';

/** A repository of our own registry that a Dockerfile builds on. */
export interface BaseImage {
  readonly repository: RepositoryName;
  readonly visibility: 'public' | 'private';
  /** Whether the person who asks may read it; a private one that they may not read is as good as absent. */
  readonly canRead: boolean;
  /** Whether they administer its namespace, and so may see its robots. */
  readonly isAdmin: boolean;
  readonly robots: readonly { readonly name: string; readonly canRead: boolean }[];
}

/** What our own registry has of the images that Dockerfiles name. */
export interface BaseImages {
  /**
   * `elsewhere`: the image is not in our registry. Undefined: it should be, and there is no such repository. `for`: whose
   * robots are of interest.
   */
  look(
    image: string,
    asked: { readonly username: string; readonly superuser?: boolean; readonly for: RepositoryName },
  ): Promise<BaseImage | 'elsewhere' | undefined>;
}
