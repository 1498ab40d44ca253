import ArgumentParser
import Attention
import Hosts
import Jobs
import MPI
import Reporting

/// A number of threads, as it is asked for.
enum ThreadCount: Equatable {
  /// As many as there are cores for.
  case automatic
  case exactly(Int)
}

extension ThreadCount: ExpressibleByArgument, CustomStringConvertible {
  static let range = 1...1024

  init?(argument: String) {
    switch Int(argument) {
    case .some(let number): self = .exactly(number)
    case .none where argument == "auto": self = .automatic
    case .none: return nil
    }
  }

  var description: String {
    switch self {
    case .automatic: "auto"
    case .exactly(let number): "\(number)"
    }
  }

  var defaultValueDescription: String { description }

  static var defaultCompletionKind: CompletionKind { .list(["auto"]) }

  /// Parses `1,2,auto`.
  @Sendable
  static func list(parsing text: String) throws -> [ThreadCount] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { word in
      guard let count = ThreadCount(argument: String(word)), count.isPossible else {
        throw ValidationError("give whole numbers from 1 to 1024, or auto, joined by commas.")
      }
      return count
    }
  }

  fileprivate var isPossible: Bool {
    switch self {
    case .automatic: true
    case .exactly(let number): Self.range.contains(number)
    }
  }

  /// Of a process by itself.
  var alone: Int {
    switch self {
    case .automatic: ProcessorGrant.current.coreCount
    case .exactly(let number): number
    }
  }
}

/// `--threads`: how many threads a rank computes with.
struct ThreadOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Threads of each rank. auto: the cores that it may use, divided among the ranks that share \
      them.
      """, valueName: "n"))
  var threads = ThreadCount.automatic

  func validate() throws {
    guard threads.isPossible else {
      throw ValidationError("--threads is \(threads); give a number from 1 to 1024, or auto.")
    }
  }

  /// The number that is asked for; nil for as many as there are cores.
  var asked: Int? {
    switch threads {
    case .automatic: nil
    case .exactly(let number): number
    }
  }

  /// Those of this rank, called by all ranks together.
  func count(on world: borrowing Communicator) throws -> Int {
    switch threads {
    case .automatic: try world.agreed { try world.threadShare() }
    case .exactly(let number): number
    }
  }

  /// The same for all ranks: the fewest that any has.
  ///
  /// Called by all ranks together. What is compared between ranks, and between numbers of ranks,
  /// has equal ones.
  func commonCount(on world: borrowing Communicator) throws -> Int {
    let own = try count(on: world)
    return try world.allReduce(own, with: .min)
  }
}

/// A sentence on ranks that cannot be equally fast; nil where they have as many threads each.
///
/// - Parameter remedy: what to do about it, if there is something.
func unequalThreads(_ threads: [Int], remedy: String?) -> String? {
  guard Set(threads).count > 1 else { return nil }
  return "Ranks have \(threadWords(threads)): of equal parts those with fewest take longest"
    + (remedy.map { "; \($0)." } ?? ".")
}
