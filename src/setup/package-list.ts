/** A Debian package and how to see that what we need of it is there. */
export interface SystemPackage {
  readonly name: string;
  /** Programs it brings: names looked for in the system's folders, or absolute paths, which may be globs. */
  readonly programs: readonly string[];
  /** Ends the sentence "<name> …". */
  readonly why: string;
  /** Its system service, which nobody asked for and which is not to run because of us. */
  readonly service?: string;
}

/** What a machine needs to build images and to serve them. */
export const buildPackages: readonly SystemPackage[] = [
  { name: 'buildah', programs: ['buildah'], why: 'builds images without a daemon' },
  { name: 'runc', programs: ['runc'], why: 'runs the RUN steps of a build' },
  {
    name: 'uidmap',
    programs: ['newuidmap', 'newgidmap'],
    why: 'gives rootless builds their range of user ids',
  },
  { name: 'slirp4netns', programs: ['slirp4netns'], why: 'gives builds a network of their own' },
  {
    name: 'fuse-overlayfs',
    programs: ['fuse-overlayfs'],
    why: 'stores layers where the kernel allows no rootless overlay',
  },
  {
    name: 'docker-registry',
    programs: ['docker-registry'],
    why: 'stores the images',
    service: 'docker-registry.service',
  },
  { name: 'skopeo', programs: ['skopeo'], why: 'reads images back from a registry' },
  { name: 'git', programs: ['git'], why: 'fetches sources' },
  { name: 'openssh-client', programs: ['ssh', 'ssh-keygen'], why: 'fetches private sources' },
  { name: 'busybox-static', programs: ['busybox'], why: 'is the content of the example image' },
];

/** What the tests need beyond that. */
export const testPackages: readonly SystemPackage[] = [
  { name: 'podman', programs: ['podman'], why: 'logs in, pulls and pushes as people do' },
  { name: 'mmdebstrap', programs: ['mmdebstrap'], why: 'makes base images for tests' },
  {
    name: 'redis-server',
    programs: ['redis-server'],
    why: 'is tested against',
    service: 'redis-server.service',
  },
  {
    name: 'postgresql',
    programs: ['/usr/lib/postgresql/*/bin/postgres', '/usr/lib/postgresql/*/bin/initdb'],
    why: 'is tested against',
    service: 'postgresql.service',
  },
  {
    name: 'openssh-server',
    programs: ['sshd'],
    why: 'serves git repositories to tests',
    service: 'ssh.service',
  },
  {
    name: 'etcd-server',
    programs: ['etcd'],
    why: 'stores what the Kubernetes of tests knows',
    service: 'etcd.service',
  },
];
