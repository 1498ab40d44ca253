import FoundationEssentials
import Jobs
import Models
import MPI
import Reporting
import Tensors

/// Text that becomes tokens on rank 0, and the same tokens on all ranks.
struct ModelText {
  private let file: ModelFile

  init(_ file: ModelFile) { self.file = file }

  /// The tokens of a text, called by all ranks together.
  ///
  /// - Parameter text: asked for on rank 0 alone.
  func tokens(
    vocabulary: Int, on world: borrowing Communicator, _ text: (Tokenizer) throws -> [Int]
  ) throws -> [Int] {
    let own = try world.agreed {
      guard world.rank == 0 else { return [Int]() }
      let tokens = try text(try file.tokenizer())
      if let wrong = tokens.first(where: { $0 < 0 || $0 >= vocabulary }) {
        throw UserError(
          "the tokenizer of '\(file.path)' gives token \(wrong), and the model has "
            + "\(grouped(vocabulary)); convert the model again, or name another.")
      }
      return tokens
    }
    return try Self.share(own, on: world)
  }

  /// The tokens of rank 0, on all ranks.
  static func share(_ own: [Int], on world: borrowing Communicator) throws -> [Int] {
    let count = try world.broadcast(own.count, from: 0)
    var tokens = world.rank == 0 ? own : [Int](repeating: 0, count: count)
    try world.broadcast(&tokens, from: 0)
    return tokens
  }

  /// The bytes of a file.
  ///
  /// - Parameter option: what names it, for errors.
  static func bytes(of path: String, option: String) throws -> [UInt8] {
    do { return Array(try Data(contentsOf: URL(filePath: path))) } catch {
      throw UserError("'\(path)': the file of \(option) cannot be read; name one that is there.")
    }
  }
}
