import Attention
import Glibc
import MPI
import SequenceParallel
import Sharding
import Tensors

/// The output file of a run, which all ranks write together.
///
/// Its space is reserved before the computation, so that a full disk is noticed at once; it has
/// its name only when every rank has written its rows. Whatever ends the job before that, also a
/// signal, leaves nothing behind.
struct OutputFile: ~Copyable {
  private let writer: SafetensorsWriter

  /// Creates the file on rank 0 and opens it on the others.
  init(path: String, attention: ShardedAttention, on world: borrowing Communicator) throws {
    let layout = try SafetensorsLayout(
      path: path,
      tensors: [
        TensorDescription("o", .f32, attention.outputShape),
        TensorDescription("lse", .f32, attention.logSumExpShape),
      ])
    let token = String(try world.broadcast(Int.random(in: 0..<1 << 40), from: 0), radix: 36)
    var created: SafetensorsWriter? = try world.agreed {
      guard world.rank == 0 else { return nil }
      let writer = try SafetensorsWriter.create(layout, token: token)
      removeOnSignal(path: writer.partialPath)
      return writer
    }
    writer = try world.agreed {
      if let creator = created.take() { return creator }
      return try SafetensorsWriter.join(layout, token: token)
    }
  }

  /// Writes this rank's rows, and gives the file its name when all ranks have.
  consuming func write(
    _ output: borrowing AttentionOutput, attention: ShardedAttention,
    on world: borrowing Communicator
  ) throws {
    let runs = attention.queries.shards[world.rank]
    try world.agreed {
      try writeRows(of: output, attention: attention, runs: runs)
      try writer.synchronize()
    }
    var failure: (any Error)?
    if world.rank == 0 {
      // Consuming the writer is not possible within a closure.
      do { try writer.commit() } catch { failure = error }
      forgetPathOnSignal()
    }
    try world.agreed { if let failure { throw failure } }
  }

  private func writeRows(
    of output: borrowing AttentionOutput, attention: ShardedAttention, runs: [PositionRange]
  ) throws {
    let shape = attention.shape
    let rowLength = shape.queryHeads * shape.valueHeadDim
    var row = 0
    for batch in 0..<shape.batch {
      for run in runs {
        let rows = output.o.span.extracting(row * rowLength..<(row + run.count) * rowLength)
        try writer.write(RowSlice(run, axis: 1, outerIndex: batch), of: "o", from: rows)
        row += run.count
      }
    }
    row = 0
    for sequenceAndHead in 0..<shape.batch * shape.queryHeads {
      for run in runs {
        let rows = output.lse.span.extracting(row..<row + run.count)
        try writer.write(
          RowSlice(run, axis: 2, outerIndex: sequenceAndHead), of: "lse", from: rows)
        row += run.count
      }
    }
  }
}

/// The file that a signal removes, as C sees it.
nonisolated(unsafe) private var pathToRemove: UnsafeMutablePointer<CChar>?

/// Removes a file if the job is ended by a signal: mpirun sends SIGTERM to all ranks when one dies.
private func removeOnSignal(path: String) {
  unsafe pathToRemove = strdup(path)
  for number in [SIGTERM, SIGINT, SIGHUP] {
    signal(number) { number in
      // Only what is allowed in a signal handler.
      if let path = unsafe pathToRemove { unsafe unlink(path) }
      _exit(128 + number)
    }
  }
}

private func forgetPathOnSignal() {
  unsafe pathToRemove = nil
}
