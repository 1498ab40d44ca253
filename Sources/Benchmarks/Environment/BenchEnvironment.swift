import Attention
import BuildStamp
import FoundationEssentials
import Hosts
import Jobs
package import MPI
import Reporting
import Results

/// Where a measurement was made.
package struct BenchEnvironment: BenchSetting {
  let processor: String
  /// Of this host, as far as the job may use them.
  package let cores: Int
  let memoryBytes: Int
  /// Whose kernels compute; several if the ranks have different processors.
  let instructionSet: String
  let kernel: String
  let gyreVersion: String
  /// That it was built from, with `-modified` behind it where the source was; null where it was not
  /// built in a checkout.
  let commit: Nullable<String>
  /// When it began, in UTC.
  let date: String
  let openMPI: String
  /// Parameters of Open MPI: those that matter for speed as they are in effect, in a job of ranks,
  /// and all that were set in the environment or by mpirun's `--mca`.
  let openMPIParameters: [String: String]
  let ranks: Int
  /// Of a rank; where several numbers are measured, the largest.
  let threads: Int
  let hosts: [Host]
  /// What the link of each host carries, where that is limited; null where it is not known.
  let linkBytesPerSecond: Nullable<Double>
  /// How many there are in truth: containers and emulated hosts share one.
  let machines: Int
  /// Whether there are more threads than cores that they may run on.
  let oversubscribed: Bool

  struct Host: Encodable {
    let name: String
    let ranks: Int
    /// That ranks of the job may run on, as far as `coreQuota` lets them be used.
    let cores: Int
    /// For each rank, how many cores it may use: those it is bound to.
    let coresOfRanks: [Int]
    /// How many cores' time the control group grants; null where it is not limited.
    let coreQuota: Nullable<Double>
  }

  /// Of this process alone.
  ///
  /// - Parameters:
  ///   - threads: that compute at once.
  ///   - linkRate: what the link of each host carries, in bytes a second, where that is limited.
  package static func current(threads: Int, linkRate: Double?) -> BenchEnvironment {
    BenchEnvironment(JobCores([.current]), threads: threads, linkRate: linkRate)
  }

  /// Of a whole job, called by all ranks together.
  package static func gather(
    threads: Int, linkRate: Double?, on world: borrowing Communicator
  ) throws -> BenchEnvironment {
    let places = try world.allGather(Array(JSONEncoder().encode(RankPlace.current))).map {
      try JSONDecoder().decode(RankPlace.self, from: Data($0))
    }
    let sets = try world.allGather(Array(InstructionSet.inUse.rawValue.utf8)).compactMap {
      InstructionSet(rawValue: String(decoding: $0, as: UTF8.self))
    }
    return BenchEnvironment(
      JobCores(places), threads: threads, linkRate: linkRate, sets: sets,
      parameters: MPIEnvironment.parameters(parametersInEffect))
  }

  private init(
    _ job: JobCores, threads: Int, linkRate: Double?, sets: [InstructionSet] = [.inUse],
    parameters inEffect: [String: String] = [:]
  ) {
    let model = text(ofFile: "/proc/cpuinfo").split(separator: "\n").first {
      $0.hasPrefix("model name")
    }
    let name = model?.split(separator: ":").last.map { $0.drop { $0 == " " } }
    processor = name.map(String.init) ?? "unknown"
    hosts = job.hosts
    cores = hosts.first?.cores ?? 0
    memoryBytes = HostMemory.current.usableBytes
    instructionSet = InstructionSet.names(of: sets)
    kernel = text(ofFile: "/proc/sys/kernel/osrelease").firstLine
    gyreVersion = BuildStamp.version
    commit = Nullable(value: BuildStamp.commit)
    date = Date.now.formatted(.iso8601)
    openMPI = MPIEnvironment.libraryVersion.split(separator: ",").first.map(String.init) ?? ""
    var parameters = inEffect
    for (name, value) in ProcessInfo.processInfo.environment where name.hasPrefix("OMPI_MCA_") {
      let parameter = name.dropFirst("OMPI_MCA_".count)
      if !Self.ofLauncher.contains(where: parameter.hasPrefix) {
        parameters[String(parameter)] = value
      }
    }
    openMPIParameters = parameters
    linkBytesPerSecond = Nullable(value: linkRate)
    ranks = hosts.reduce(0) { $0 + $1.ranks }
    machines = job.machines
    self.threads = threads
    oversubscribed = job.isOversubscribed(threads: threads)
  }

  /// Those that matter for speed.
  private static let parametersInEffect = [
    "pml", "btl", "btl_tcp_if_include", "btl_tcp_if_exclude", "btl_tcp_flags", "btl_tcp_links",
    "btl_vader_single_copy_mechanism", "mpi_yield_when_idle", "hwloc_base_binding_policy",
  ]

  /// How the names of variables begin by which mpirun talks to its ranks: of no interest to others.
  private static let ofLauncher = [
    "ess", "orte_", "pmix", "plm", "initial_", "shmem_RUNTIME", "mpi_oversubscribe", "rmaps_",
  ]
}

extension BenchEnvironment {
  /// The cores of all hosts, of those that are emulated on one machine that machine's.
  package var coresOfJob: Int {
    machines == 1 ? cores : hosts.reduce(0) { $0 + $1.cores }
  }

  /// One line.
  package var description: String {
    let each = counted(threads, "thread")
    let these = ranks == 1 ? ", \(each)" : ", \(ranks) ranks of \(each)"
    let place =
      hosts.count == 1
      ? these : "\(these) on \(hosts.count) hosts\(machines == 1 ? " of one machine" : "")"
    return "\(processor), \(counted(cores, "core"))\(place), \(instructionSet)"
      + (oversubscribed ? "; more threads than cores" : "")
  }
}
