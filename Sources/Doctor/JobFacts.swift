package import MPI

/// What one rank is like.
///
/// The names are fields of the JSON object.
package struct RankFacts: Codable, Sendable {
  package var rank = 0
  /// Which of the job's hosts it runs on.
  package var host = 0
  /// The hardware threads that it may run on.
  package var cpus: [Int] = []
  /// Those that mpirun's own process on its host may run on; none where that cannot be seen.
  package var launcherCpus: [Int] = []
  /// How many threads it is to compute with.
  package var threads = 1
  /// The number of the user that it runs as; 0 is root.
  package var user = 1000
  package var gyreVersion = ""
  /// Whose kernels compute.
  package var instructionSet = ""
  /// A number that two executables have in common, practically, only if they are the same.
  package var executable = ""
  /// The MPI library found at run time, in its own words, and the version compiled with.
  package var library = ""
  package var compiledLibrary = ""
  /// Whether it may read the memory of the next rank of its host; nil where it is alone there.
  package var readsNextRanksMemory: Bool?
  /// Limits that the shell sets; nil is none.
  package var fileSizeLimitBytes: Int?
  package var addressSpaceLimitBytes: Int?
  package var lockedMemoryLimitBytes: Int?
  /// Of open files: that which mpirun and the shell have, and that to which a rank raises it.
  package var openFilesSoftLimit: Int?
  package var openFilesLimit: Int?

  package init() {}

  /// The version at the beginning of what the library says of itself: `4.1.4` of
  /// `Open MPI v4.1.4, …`.
  var libraryVersion: String {
    let name = library.prefix { $0 != "," }
    guard let mark = name.firstRange(of: " v") else { return String(name) }
    return String(name[mark.upperBound...])
  }
}

/// What the mpirun on PATH says, for a doctor that runs without it.
package struct MpirunFacts: Codable, Sendable {
  /// Its first line of `--version`; nil where there is none.
  package var version: String?
  /// The hosts that it would use, and how many ranks it would put on each; nil where it did not
  /// say.
  package var slots: [Slots]?
  /// Whether it refuses this user, who is root.
  package var refusesRoot = false
  /// What it has said where a trial job of one rank did not start.
  package var trialFailure: String?

  package init() {}

  package struct Slots: Codable, Sendable, Equatable {
    package var host: String
    package var count: Int

    package init(host: String, count: Int) {
      self.host = host
      self.count = count
    }
  }
}

/// All that the findings are made from.
package struct JobFacts: Sendable {
  package var hosts: [HostFacts]
  package var ranks: [RankFacts]
  /// How many ranks mpirun would start at most; nil where it did not say.
  package var slots: Int?
  /// Nil under mpirun.
  package var mpirun: MpirunFacts?
  /// What the launcher says of the job, where one has left word.
  package var announced: AnnouncedRanks?

  package init(hosts: [HostFacts], ranks: [RankFacts]) {
    self.hosts = hosts
    self.ranks = ranks
  }

  /// How many cores of a host its ranks may use; without mpirun, this process.
  func grantedCores(on host: Int) -> Int {
    let cpus = ranks(on: host).flatMap(\.cpus)
    return cpus.isEmpty ? hosts[host].cores.count : hosts[host].coreCount(of: cpus)
  }

  /// The ranks of a host.
  package func ranks(on host: Int) -> [RankFacts] { ranks.filter { $0.host == host } }
}
