import ArgumentParser
import Jobs
import MPI
import Reporting

/// `--ranks 1,2,4`: how many ranks take part.
struct RankCounts: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Numbers of ranks. (default: the powers of two up to those of the job, and all)
      """, valueName: "p,…"),
    transform: { try parseIntegers($0, in: 1...1 << 20) })
  var ranks: [Int]?

  /// What is said of it in a command's help.
  static let discussion = """
    It is one job: p ranks are its first p, as mpirun counts them (--map-by slot fills host after \
    host, --map-by node goes round the hosts), on a communicator of their own, and the others \
    sleep meanwhile.
    """

  /// What is said of threads.
  static let threads = """
    A rank has as many threads in every row: with --threads auto those that there are cores for \
    when all ranks of the job compute, on the rank that has fewest. So twice the ranks have twice \
    the cores.
    """

  /// The numbers in ascending order, called by all ranks together.
  func counts(on world: borrowing Communicator) throws -> [Int] {
    let size = world.size
    guard let ranks else {
      return (0..<20).map { 1 << $0 }.filter { $0 < size } + [size]
    }
    if let most = ranks.max(), most > size {
      try world.agreed {
        throw UserError.usage(
          "--ranks asks for \(most) ranks and the job has \(size); start it with mpirun -n "
            + "\(most), "
            + "or leave \(most) out.")
      }
    }
    return Set(ranks).sorted()
  }
}
