import Jobs
import MPI
import Reporting
import Tensors

/// A file that all ranks write together; it has its name only when every rank has written its rows.
struct SharedWriter: ~Copyable {
  private let writer: SafetensorsWriter

  /// Creates the file on rank 0 and opens it on the others, called by all of them together.
  init(
    _ layout: SafetensorsLayout, existing: OutputTarget.Existing, on world: borrowing Communicator
  ) throws {
    let token = String(try world.broadcast(Int.random(in: 0..<1 << 40), from: 0), radix: 36)
    var created: SafetensorsWriter? = try world.agreed {
      guard world.rank == 0 else { return nil }
      let writer = try SafetensorsWriter.create(
        layout, token: token, existing: existing, onCreation: UnfinishedFile.remember)
      for leftover in writer.removedLeftovers {
        printError("gyre: removed '\(leftover)', which a run that was killed had left.")
      }
      return writer
    }
    writer = try world.agreed {
      if let creator = created.take() { return creator }
      return try SafetensorsWriter.join(layout, token: token)
    }
  }

  /// Writes some rows of a tensor.
  func write(_ slice: RowSlice, of name: String, from numbers: borrowing Span<Float>) throws {
    try writer.write(slice, of: name, from: numbers)
  }

  /// Gives the file its name when all ranks have written their rows, called by all of them
  /// together.
  consuming func commit(on world: borrowing Communicator) throws {
    try world.agreed { try writer.synchronize() }
    var failure: (any Error)?
    if world.rank == 0 {
      // Consuming the writer is not possible within a closure.
      do { try writer.commit() } catch { failure = error }
      UnfinishedFile.forget()
    }
    try world.agreed { if let failure { throw failure } }
  }
}
