internal import Glibc

/// The ranks that a launcher says it has started, told from the variables that it sets.
///
/// MPI sees as many only if the launcher and the library speak to each other. Where they do not, as
/// when another MPI's `mpiexec` starts the program, every rank is rank 0 of a world of its own, and
/// each does the whole job.
public struct AnnouncedRanks: Hashable, Sendable {
  /// What started them, in words for a sentence.
  public let launcher: String
  /// The variable that tells how many there are.
  public let variable: String
  /// How many there are; at least, where ``isExact`` is false.
  public let size: Int
  /// Whether the launcher tells how many there are.
  ///
  /// Where it tells each its number only, rank 0 cannot know of others.
  public let isExact: Bool
  /// Which of them this process is.
  public let rank: Int

  /// Whether this is the lowest rank that can know of others.
  public var isSpeaker: Bool { rank == (isExact ? 0 : 1) }

  /// A launcher, and how it tells a process its place.
  private struct Source {
    let launcher: String
    let size: String
    let rank: String
  }

  /// It stands nearest to the process, whatever has started it, and has the last word.
  private static let openMPI = Source(
    launcher: "Open MPI's mpirun", size: "OMPI_COMM_WORLD_SIZE", rank: "OMPI_COMM_WORLD_RANK")

  /// A task of `srun` is told from a batch script by `SLURM_STEP_NUM_TASKS`, which the script does
  /// not have.
  private static let others = [
    Source(
      launcher: "MVAPICH's launcher", size: "MV2_COMM_WORLD_SIZE", rank: "MV2_COMM_WORLD_RANK"),
    Source(
      launcher: "MVAPICH's launcher", size: "MVP_COMM_WORLD_SIZE", rank: "MVP_COMM_WORLD_RANK"),
    Source(launcher: "a launcher of MPICH's kind", size: "PMI_SIZE", rank: "PMI_RANK"),
    Source(
      launcher: "a launcher of MPICH's kind", size: "MPI_LOCALNRANKS", rank: "MPI_LOCALRANKID"),
    Source(launcher: "Platform MPI's mpirun", size: "MPI_NRANKS", rank: "MPI_RANKID"),
    Source(launcher: "jsrun", size: "JSM_NAMESPACE_SIZE", rank: "JSM_NAMESPACE_RANK"),
    Source(launcher: "flux", size: "FLUX_JOB_SIZE", rank: "FLUX_TASK_RANK"),
    Source(launcher: "srun", size: "SLURM_STEP_NUM_TASKS", rank: "SLURM_PROCID"),
    // These tell each process its own number only.
    Source(launcher: "a launcher with PMIx", size: "", rank: "PMIX_RANK"),
    Source(launcher: "PALS", size: "", rank: "PALS_RANKID"),
    Source(launcher: "aprun", size: "", rank: "ALPS_APP_PE"),
  ]

  /// What this process's environment says; nil where no launcher has left a word in it.
  ///
  /// Looked up before MPI is initialized, which makes variables of its own.
  public static let ofThisProcess = AnnouncedRanks { name in
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }

  /// What an environment says; nil where no launcher has left a word in it.
  ///
  /// - Parameter value: the value of a variable, nil where it is not set.
  public init?(environment value: (String) -> String?) {
    func number(_ name: String) -> Int? { value(name).flatMap { Int($0) } }
    func announced(_ source: Source) -> AnnouncedRanks? {
      let rank = number(source.rank)
      let size = number(source.size)
      guard let least = size ?? rank.map({ $0 + 1 }), least > 0 else { return nil }
      return AnnouncedRanks(
        launcher: source.launcher, variable: size == nil ? source.rank : source.size, size: least,
        isExact: size != nil, rank: rank ?? 0)
    }
    if let nearest = announced(Self.openMPI) {
      self = nearest
      return
    }
    // Others may speak together, each of a part: who speaks of most ranks is meant, of equals the
    // first.
    guard let most = Self.others.compactMap(announced).max(by: { $0.size < $1.size })
    else { return nil }
    self = most
  }

  private init(launcher: String, variable: String, size: Int, isExact: Bool, rank: Int) {
    self.launcher = launcher
    self.variable = variable
    self.size = size
    self.isExact = isExact
    self.rank = rank
  }
}
