import { dirname } from 'node:path'
import { quote } from '../../net/index.ts'

/** Something of the machine that shows up in a container. */
export type Mount = Readonly<{
  /** Absolute path on the machine, without symbolic links. */
  source: string
  target: string
  kind: 'dir' | 'file'
  readOnly: boolean
  /** `slave`: mounts made later below `source` show up too (HostToContainer). */
  propagation: 'private' | 'slave'
}>

/** Everything that a container is, resolved: no name is left to look up. */
export type ContainerPlan = Readonly<{
  /** The container's own directory on the machine. */
  dir: string
  /** Path of the network namespace. */
  netns: string
  hostname: string
  /** `host`: the container sees and may signal the machine's processes (hostPID). */
  processes: 'own' | 'host'
  command: readonly string[]
  env: Readonly<Record<string, string>>
  workingDir: string
  mounts: readonly Mount[]
  user: Readonly<{ uid: number; gid: number; groups: readonly number[] }>
  /** What root in the container may still do, `all` for a privileged one. */
  capabilities: 'all' | readonly string[]
  readOnlyRoot: boolean
}>

/** Enough for logs and scratch files; a container that writes more belongs on a volume. */
const scratchSize = '1g'
/** Parts of the machine that no container has business with. What a volume mounts there comes after. */
const masked = [
  ['/tmp', '1777'],
  ['/run', '755'],
  ['/root', '700'],
  ['/home', '755'],
  ['/var/lib/lateen', '700'],
] as const
/** Where a container's root has the machine's while it is being built; nothing may be mounted there. */
export const machineRoot = '/.machine'
const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty']

/**
 * The shell above a container: keeps its exit code in `exit` for whichever node agent is alive by then, and its output
 * in files, through pipes as programs expect them. Below it a second shell has process 1 of the container as its only
 * child; each dies with its parent. (`unshare --fork` in its place would lose the exit code of a killed program.)
 */
export function shimScript({ dir, netns, processes }: ContainerPlan): string {
  const at = (name: string) => quote(`${dir}/${name}`)
  // Process 1 of a pid namespace takes all others along. Without one its children live on and hold the pipes.
  const drained = processes === 'own' ? 'wait' : 'sleep 0.1'
  return `cd /
if [ "$1" = inside ]; then
  setpriv --pdeathsig KILL unshare --mount --propagation=slave sh ${at('init.sh')} </dev/null 2>&6 6>&-
  exit
fi
mkfifo -m 622 ${at('stdout.pipe')} ${at('stderr.pipe')}
exec 3>>${at('setup')} 5<>${at('stdout.pipe')} 6<>${at('stderr.pipe')}
cat <${at('stdout.pipe')} >>${at('stdout')} 3>&- 5>&- 6>&- &
cat <${at('stderr.pipe')} >>${at('stderr')} 3>&- 5>&- 6>&- &
setpriv --pdeathsig KILL nsenter --net=${quote(netns)} \\
  unshare ${processes === 'own' ? '--pid ' : ''}--uts --ipc sh "$0" inside >&5 2>&3 5>&-
code=$?
exec 5>&- 6>&-
${drained}
echo $code >${at('exit')}
${processes === 'own' ? '' : 'kill -KILL 0\n'}`
}

/**
 * The first process of a container, from the moment that its namespaces exist: builds the root, leaves the machine's,
 * becomes the program. Errors up to there go to `setup`, which ends with `ok` once everything stands.
 */
export const initScript = (plan: ContainerPlan): string =>
  [
    'set -e',
    'exec 4>&2 2>&3',
    // /proc is still the machine's, so this is the process id and start time as the node agent sees them.
    `read -r stat </proc/self/stat; echo "$stat" >${quote(`${plan.dir}/stat`)}`,
    ...root(plan),
    ...kernelFileSystems(),
    ...masked.map(([dir, mode]) => `[ ! -d ${dir} ] || mount -t tmpfs -o mode=${mode} tmpfs ${dir}`),
    ...plan.mounts.flatMap(mountLines),
    `umount -l ${machineRoot}`,
    `rmdir ${machineRoot}`,
    `echo ${quote(plan.hostname)} >/proc/sys/kernel/hostname`,
    ...(plan.readOnlyRoot ? ['mount -o remount,bind,ro /'] : []),
    'echo ok >&3',
    'exec 2>&4 3>&- 4>&-',
    `exec ${asUser(plan).map(quote).join(' ')}`,
    '',
  ].join('\n')

/** Options of setpriv. */
export const dieWithParent = ['--pdeathsig', 'KILL']

type Program = Pick<ContainerPlan, 'user' | 'capabilities' | 'env' | 'workingDir' | 'command'>

/**
 * The program with the container's user, rights, environment and directory and nothing of ours. Used by exec too. It
 * dies with its parent; that must be said here, because a change of user forgets what was said before.
 */
export function asUser(program: Program): readonly string[] {
  const { user, capabilities, env, workingDir, command } = program
  const { uid, gid, groups } = user
  return [
    'setpriv',
    ...dieWithParent,
    ...(uid === 0 && gid === 0 ? [] : [`--reuid=${uid}`, `--regid=${gid}`]),
    ...(groups.length > 0 ? [`--groups=${groups.join(',')}`] : ['--clear-groups']),
    ...(capabilities === 'all'
      ? []
      : [
          `--bounding-set=${['-all', ...capabilities.map((name) => `+${name}`)].join(',')}`,
          '--inh-caps=-all',
        ]),
    'env',
    '-i',
    `--chdir=${workingDir}`,
    '--', // a variable may be named like an option
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...command,
  ]
}

/** A writable view of `/` whose changes live in memory and vanish with the container. */
const root = ({ dir }: ContainerPlan): readonly string[] => [
  `cd ${quote(`${dir}/scratch`)}`,
  `mount -t tmpfs -o size=${scratchSize},mode=755 tmpfs .`,
  `cd ${quote(`${dir}/scratch`)}`,
  'mkdir upper work root',
  'mount -t overlay overlay -o lowerdir=/,upperdir="$PWD/upper",workdir="$PWD/work" root',
  'cd root',
  `mkdir .${machineRoot}`,
  `pivot_root . .${machineRoot}`,
  'cd /',
]

const kernelFileSystems = (): readonly string[] => [
  'mount -t proc proc /proc',
  'mount -t sysfs -o ro sysfs /sys',
  'mount -t tmpfs -o mode=755,size=1m tmpfs /dev',
  `cp -a ${devices.map((name) => `${machineRoot}/dev/${name}`).join(' ')} /dev/`,
  'mkdir /dev/pts /dev/shm',
  'mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts',
  'mount -t tmpfs -o mode=1777 tmpfs /dev/shm',
  'ln -s pts/ptmx /dev/ptmx',
  'ln -s /proc/self/fd /dev/fd',
  'for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "/dev/${n#*:}"; done',
]

function mountLines({ source, target, kind, readOnly, propagation }: Mount): readonly string[] {
  const at = quote(target)
  const make =
    kind === 'dir'
      ? `mkdir -p ${at}`
      : // A link would lead the mount elsewhere: /etc/resolv.conf often is one.
        `mkdir -p ${quote(dirname(target))}; [ ! -L ${at} ] || rm ${at}; [ -e ${at} ] || : >${at}`
  return [
    make,
    `mount --${kind === 'dir' ? 'rbind' : 'bind'} ${quote(`${machineRoot}${source}`)} ${at}`,
    ...(propagation === 'private' ? [`mount --make-rprivate ${at}`] : []),
    ...(readOnly ? [`mount -o remount,bind,ro ${at}`] : []),
  ]
}
