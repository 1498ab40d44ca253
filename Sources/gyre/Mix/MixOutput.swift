import Jobs
import MPI
import Mixers
import Tensors

/// The output file of a run, which all ranks write together.
struct MixOutput: ~Copyable {
  private let writer: SharedWriter

  /// Creates the file, called by all ranks together.
  init(
    path: String, existing: OutputTarget.Existing, _ mixer: any Mixer, gradients: Bool,
    on world: borrowing Communicator
  ) throws {
    let forms =
      mixer.outputs + (gradients ? mixer.inputs.map { $0.named("d\($0.name)") } : [])
    writer = try SharedWriter(
      SafetensorsLayout(
        path: path, tensors: forms.map { TensorDescription($0.name, .f32, $0.shape) }),
      existing: existing, on: world)
  }

  /// Writes this rank's rows, and gives the file its name when all ranks have.
  consuming func write(
    _ run: MixRun, _ line: RankLine, on world: borrowing Communicator
  ) throws {
    try world.agreed {
      for (name, tensor) in run.result.outputs.all {
        try write(tensor, as: name, line, owner: run.result.owner)
      }
      for (name, tensor) in run.gradients?.all ?? [] {
        try write(tensor, as: name, line, owner: run.result.gradientOwner)
      }
    }
    try writer.commit(on: world)
  }

  private func write(
    _ tensor: MixerTensor, as name: String, _ line: RankLine, owner: Int
  ) throws {
    let form = tensor.form
    guard let axis = form.tokenAxis else {
      guard line.rank == owner, let rows = form.sizes.first, tensor.count > 0 else { return }
      return try writer.write(
        RowSlice(PositionRange(0..<rows), axis: 0), of: name, from: tensor.span)
    }
    let rowLength = form.shape.stride(axis)
    var row = 0
    for outer in 0..<form.sizes[..<axis].reduce(1, *) {
      for run in line.runs {
        let rows = tensor.span.extracting(row * rowLength..<(row + run.count) * rowLength)
        try writer.write(RowSlice(run, axis: axis, outerIndex: outer), of: name, from: rows)
        row += run.count
      }
    }
  }
}
