import Attention
import BuildStamp
import Glibc
import Hosts
import MPI

extension RankFacts {
  /// This process; its place in the job is filled in later.
  package static var current: RankFacts {
    var facts = RankFacts()
    facts.cpus = ProcessorGrant.current.cpus
    // A batch system's own process may run anywhere, whatever the job was given.
    if ["mpirun", "mpiexec", "orterun", "orted"].contains(line(ofFile: "/proc/\(getppid())/comm")) {
      facts.launcherCpus = ProcessorGrant.ofParent.cpus
    }
    facts.user = Int(geteuid())
    facts.gyreVersion = BuildStamp.version
    facts.instructionSet = InstructionSet.inUse.rawValue
    facts.executable = digest(ofFile: "/proc/self/exe")
    facts.library = MPIEnvironment.libraryVersion
    facts.compiledLibrary = MPIEnvironment.compiledVersion
    facts.fileSizeLimitBytes = limit(RLIMIT_FSIZE)
    facts.addressSpaceLimitBytes = limit(RLIMIT_AS)
    facts.lockedMemoryLimitBytes = limit(__RLIMIT_MEMLOCK)
    facts.openFilesSoftLimit = OpenFiles.softLimitAtStart
    facts.openFilesLimit = OpenFiles.limits.hard
    return facts
  }
}

/// A limit of the shell; nil is none.
private func limit(_ resource: __rlimit_resource) -> Int? {
  var limits = rlimit()
  guard unsafe getrlimit(__rlimit_resource_t(resource.rawValue), &limits) == 0 else { return nil }
  return limits.rlim_cur == rlim_t.max ? nil : Int(clamping: limits.rlim_cur)
}

/// FNV-1a over a file, by words of 64 bits, as sixteen hexadecimal digits; empty if it cannot be
/// read.
private func digest(ofFile path: String) -> String {
  let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return "" }
  defer { close(descriptor) }
  var hash: UInt64 = 0xCBF2_9CE4_8422_2325
  var words = [UInt64](repeating: 0, count: 1 << 15)
  while true {
    let bytes = unsafe words.withUnsafeMutableBytes {
      unsafe read(descriptor, $0.baseAddress, $0.count)
    }
    guard bytes > 0 else { break }
    // What is behind the end is left from the piece before, which is the same everywhere too.
    for word in words.prefix((bytes + 7) / 8) {
      hash = (hash ^ word) &* 0x0000_0100_0000_01B3
    }
  }
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
