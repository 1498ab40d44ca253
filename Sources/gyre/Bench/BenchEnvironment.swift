import ArgumentParser
import Attention
import FoundationEssentials
import Glibc
import MPI

/// Where a measurement was made.
struct BenchEnvironment: BenchSetting {
  let processor: String
  /// Of this host, as far as the system lets this process use them.
  let cores: Int
  let memoryBytes: Int
  let instructionSet: String
  let kernel: String
  let gyreVersion: String
  /// Of the checkout that the executable lies in; null where it lies in none.
  let commit: Nullable<String>
  /// When it began, in UTC.
  let date: String
  let openMPI: String
  /// Parameters of Open MPI: those that matter for speed as they are in effect, in a job of ranks, and all
  /// that were set in the environment or by mpirun's `--mca`.
  let openMPIParameters: [String: String]
  let ranks: Int
  let hosts: [Host]
  /// What the link of each host carries, where that is limited; null where it is not known.
  let linkBytesPerSecond: Nullable<Double>
  /// How many there are in truth: containers and emulated hosts share one.
  let machines: Int
  /// Whether ranks times threads are more than the cores of their machine.
  let oversubscribed: Bool

  struct Host: Encodable {
    let name: String
    let ranks: Int
    let cores: Int
    /// For each rank, how many cores it may run on.
    let coresOfRanks: [Int]
  }

  /// Of this process alone.
  static var current: BenchEnvironment {
    let here = Host(
      name: MPIEnvironment.processorName, ranks: 1, cores: cores, coresOfRanks: [allowedCores])
    return BenchEnvironment(hosts: [here], machines: [bootID], threads: 1)
  }

  /// Of a whole job, called by all ranks together.
  static func gather(
    threads: Int, on world: borrowing Communicator
  ) throws -> BenchEnvironment {
    let mine = "\(allowedCores) \(cores) \(bootID) \(MPIEnvironment.processorName)"
    let lines = try world.allGather(Array(mine.utf8)).map { String(decoding: $0, as: UTF8.self) }
    var hosts: [Host] = []
    var machines: [String] = []
    for line in lines {
      let words = line.split(separator: " ", maxSplits: 3)
      let (allowed, all, name) = (Int(words[0]) ?? 0, Int(words[1]) ?? 0, String(words[3]))
      let place = hosts.firstIndex { $0.name == name }
      let host = Host(
        name: name, ranks: 1 + (place.map { hosts[$0].ranks } ?? 0), cores: all,
        coresOfRanks: (place.map { hosts[$0].coresOfRanks } ?? []) + [allowed])
      if let place {
        hosts[place] = host
      } else {
        hosts.append(host)
        machines.append(String(words[2]))
      }
    }
    return BenchEnvironment(
      hosts: hosts, machines: machines, threads: threads,
      parameters: MPIEnvironment.parameters(parametersInEffect))
  }

  /// - Parameter machines: of each host, what tells its machine from others.
  private init(
    hosts: [Host], machines: [String], threads: Int, parameters inEffect: [String: String] = [:]
  ) {
    let model = text(ofFile: "/proc/cpuinfo").split(separator: "\n").first {
      $0.hasPrefix("model name")
    }
    let name = model?.split(separator: ":").last.map { $0.drop { $0 == " " } }
    processor = name.map(String.init) ?? "unknown"
    cores = Self.cores
    memoryBytes = ProcessMemory.physicalBytes
    instructionSet = InstructionSet.name
    kernel = text(ofFile: "/proc/sys/kernel/osrelease").firstLine
    gyreVersion = Gyre.configuration.version
    commit = Nullable(value: Checkout.commit)
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
    linkBytesPerSecond = Nullable(
      value: ProcessInfo.processInfo.environment["GYRE_LINK_RATE"]
        .flatMap(Rate.init(argument:))?.value)
    ranks = hosts.reduce(0) { $0 + $1.ranks }
    self.hosts = hosts
    self.machines = Set(machines).count
    oversubscribed = Dictionary(grouping: zip(hosts, machines), by: \.1).values.contains { shared in
      shared.reduce(0) { $0 + $1.0.ranks } * threads > (shared.map(\.0.cores).max() ?? 0)
    }
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

  /// Made anew whenever a kernel starts; where the system has none, every host is a machine.
  private static var bootID: String {
    let id = text(ofFile: "/proc/sys/kernel/random/boot_id").firstLine
    return id.isEmpty ? MPIEnvironment.processorName : id
  }

  private static var cores: Int { Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
  private static var allowedCores: Int { ProcessInfo.processInfo.activeProcessorCount }
}

extension BenchEnvironment {
  /// One line.
  var description: String {
    let compiled = instructionSet.isEmpty ? "" : ", compiled for \(instructionSet)"
    let place =
      hosts.count == 1
      ? (ranks == 1 ? "" : ", \(ranks) ranks")
      : ", \(ranks) ranks on \(hosts.count) hosts\(machines == 1 ? " of one machine" : "")"
    return "\(processor), \(cores) cores\(place)\(compiled)"
      + (oversubscribed ? "; more threads than cores" : "")
  }
}
