import Attention
import Jobs
import MPI
import Reporting
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
  /// The order of dimensions of the tensors that are shaped like the input's.
  private let order: InputLayout

  /// Creates the file on rank 0 and opens it on the others.
  init(
    path: String, existing: OutputTarget.Existing, problem: some ShardedProblem, gradients: Bool,
    bias: Shape?, hasProjections: Bool = false, labels: LabelTables? = nil,
    layout order: InputLayout,
    on world: borrowing Communicator
  ) throws {
    self.order = order
    let layout = try SafetensorsLayout(
      path: path,
      tensors: [
        TensorDescription("o", .f32, order.fileShape(problem.outputShape)),
        TensorDescription("lse", .f32, problem.logSumExpShape),
      ]
        + (gradients
          ? [
            TensorDescription("dq", .f32, order.fileShape(problem.queryShape)),
            TensorDescription("dk", .f32, order.fileShape(problem.keyShape)),
            TensorDescription("dv", .f32, order.fileShape(problem.valueShape)),
          ] : [])
        + (gradients && hasProjections
          ? [
            TensorDescription("dq_global", .f32, order.fileShape(problem.queryShape)),
            TensorDescription("dk_global", .f32, order.fileShape(problem.keyShape)),
            TensorDescription("dv_global", .f32, order.fileShape(problem.valueShape)),
          ] : [])
        + (gradients && problem.sinks != nil
          ? [TensorDescription("dsinks", .f32, [problem.shape.queryHeads])] : [])
        + (gradients ? (labels?.descriptions ?? []) : [])
        + (gradients ? (bias.map { [TensorDescription("dbias", .f32, $0)] } ?? []) : []))
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

  /// Writes this rank's rows, and gives the file its name when all ranks have.
  consuming func write(
    _ result: borrowing PassResult, of problem: some ShardedProblem,
    on world: borrowing Communicator
  ) throws {
    let queries = problem.queries.shards[world.rank]
    let keys = problem.keys.shards[world.rank]
    try world.agreed {
      try writeRows(of: result.output.o, as: "o", runs: queries)
      try writeColumns(of: result.output.lse, as: "lse", runs: queries)
      switch result.gradients {
      case .some(let gradients):
        try writeRows(of: gradients.dq, as: "dq", runs: queries)
        try writeRows(of: gradients.dk, as: "dk", runs: keys)
        try writeRows(of: gradients.dv, as: "dv", runs: keys)
        switch gradients.ofGlobals {
        case .some(let own):
          try writeRows(of: own.dq, as: "dq_global", runs: queries)
          try writeRows(of: own.dk, as: "dk_global", runs: keys)
          try writeRows(of: own.dv, as: "dv_global", runs: keys)
        case .none: break
        }
        if let dsinks = gradients.dsinks, world.rank == 0 {
          try writer.write(
            RowSlice(PositionRange(0..<dsinks.count), axis: 0), of: "dsinks", from: dsinks.span)
        }
      case .none: break
      }
      if let bias = result.bias, bias.isWhole { try writeGradients(of: bias) }
      if let labels = result.labels, world.rank == 0 {
        try writer.write(
          RowSlice(PositionRange(0..<2), axis: 0), of: "detc_k", from: labels.keys.span)
        try writer.write(
          RowSlice(PositionRange(0..<2), axis: 0), of: "detc_bias", from: labels.biases.span)
      }
      try writer.synchronize()
    }
    var failure: (any Error)?
    if world.rank == 0 {
      // Consuming the writer is not possible within a closure.
      do { try writer.commit() } catch { failure = error }
      UnfinishedFile.forget()
    }
    try world.agreed { if let failure { throw failure } }
  }

  /// Writes the gradients of a rank's pairs of a bias.
  private func writeGradients(of bias: BiasPart) throws {
    for batch in 0..<bias.batch {
      for head in bias.heads {
        for (row, query) in bias.queries.joined().enumerated() {
          let gradients = bias.gradientRow(batch: batch, head: head, row: row)
          var first = 0
          for run in bias.keys {
            try writer.write(
              RowSlice(run, axis: 3, outerIndex: bias.matrixRow(batch, head, query)),
              of: "dbias", from: gradients.span.extracting(first..<first + run.count))
            first += run.count
          }
        }
      }
    }
  }

  /// Writes a tensor `[batch, tokens of the shard, heads, columns]`.
  private func writeRows(
    of tensor: borrowing Tensor<Float>, as name: String, runs: [PositionRange]
  ) throws {
    guard order == .bshd else { return try writeHeads(of: tensor, as: name, runs: runs) }
    let rowLength = tensor.shape[2] * tensor.shape[3]
    var row = 0
    for batch in 0..<tensor.shape[0] {
      for run in runs {
        let rows = tensor.span.extracting(row * rowLength..<(row + run.count) * rowLength)
        try writer.write(RowSlice(run, axis: 1, outerIndex: batch), of: name, from: rows)
        row += run.count
      }
    }
  }

  /// Writes a tensor `[batch, tokens of the shard, heads, columns]` head by head.
  private func writeHeads(
    of tensor: borrowing Tensor<Float>, as name: String, runs: [PositionRange]
  ) throws {
    let (tokens, heads, columns) = (tensor.shape[1], tensor.shape[2], tensor.shape[3])
    let tokensPerPiece = max(1, Self.pieceElements / columns)
    var piece = AlignedBuffer<Float>(zeros: min(tokens, tokensPerPiece) * columns)
    for sequenceAndHead in 0..<tensor.shape[0] * heads {
      let (batch, head) = sequenceAndHead.quotientAndRemainder(dividingBy: heads)
      var row = batch * tokens
      for run in runs {
        for start in stride(from: 0, to: run.count, by: tokensPerPiece) {
          let part = run.slice(start..<min(start + tokensPerPiece, run.count))
          var gathered = piece.mutableSpan
          for index in 0..<part.count {
            let place = ((row + index) * heads + head) * columns
            for column in 0..<columns {
              gathered[index * columns + column] = tensor.span[place + column]
            }
          }
          try writer.write(
            RowSlice(part, axis: 2, outerIndex: sequenceAndHead), of: name,
            from: piece.span.extracting(0..<part.count * columns))
          row += part.count
        }
      }
    }
  }

  /// The numbers of a head that are gathered before they are written: 1 MiB.
  private static let pieceElements = 1 << 18

  /// Writes a tensor `[batch, heads, tokens of the shard]`.
  private func writeColumns(
    of tensor: borrowing Tensor<Float>, as name: String, runs: [PositionRange]
  ) throws {
    var row = 0
    for sequenceAndHead in 0..<tensor.shape[0] * tensor.shape[1] {
      for run in runs {
        let rows = tensor.span.extracting(row..<row + run.count)
        try writer.write(
          RowSlice(run, axis: 2, outerIndex: sequenceAndHead), of: name, from: rows)
        row += run.count
      }
    }
  }
}

extension LabelTables {
  /// Their gradients in a file.
  fileprivate var descriptions: [TensorDescription] {
    [
      TensorDescription("detc_k", .f32, [2, heads, labels, headDim]),
      TensorDescription("detc_bias", .f32, [2, heads, labels]),
    ]
  }
}
