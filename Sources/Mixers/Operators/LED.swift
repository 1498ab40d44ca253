import AttentionReference
import Compute
import MPI
import Tensors

/// A linear layer whose matrix has two factors, `o = (x E) D + bias`, of a rank far below its
/// width.
///
/// Tokens do not meet: forward nothing travels; backward the gradients of E, D and bias are a sum
/// over ranks.
///
/// With a rank to factorize to, the matrix itself is given, and its best factors of that rank are
/// computed by singular values, on every rank, and are outputs too.
///
/// Source: Winata et al. 2020, Lightweight and Efficient End-to-End Speech Recognition Using
/// Low-Rank Transformer.
struct LED: Mixer {
  static let name = "led"
  static let summary = "a linear layer in two factors of low rank"
  static let demands = tensors(isWhole: false)
  static let randomDimensions = ["batch", "tokens", "in", "rank", "out"]
  static let unitDimension = "whole"
  static let options: Set<MixerOption> = [.factorize]

  static func demands(for options: MixerOptions) -> [TensorDemand] {
    tensors(isWhole: options.factorize != nil)
  }

  private static func tensors(isWhole: Bool) -> [TensorDemand] {
    let matrices =
      isWhole
      ? [TensorDemand("w", "in out", filling: .weight)]
      : [
        TensorDemand("e", "in rank", filling: .weight),
        TensorDemand("d", "rank out", filling: .weight),
      ]
    return [TensorDemand("x", "batch tokens in")] + matrices
      + [TensorDemand("bias", "out", isOptional: true)]
  }

  let sizes: MixerSizes
  let inputs: [TensorForm]
  /// Whether the matrix is given, and not its factors.
  let isWhole: Bool

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    var sizes = sizes
    sizes.complete("whole", 1)
    columns = sizes["in"]
    out = sizes["out"]
    isWhole = options.factorize != nil
    if let asked = options.factorize {
      sizes.complete("rank", asked)
      guard sizes["rank"] == asked else {
        throw MixerError(
          "--factorize is \(asked) and the rank of --random is \(sizes["rank"]); give the same.")
      }
      guard asked <= min(columns, out) else {
        throw MixerError(
          "--factorize is \(asked), and w [\(columns), \(out)] has a rank of at most "
            + "\(min(columns, out)); give at most that.")
      }
    }
    self.sizes = sizes
    rank = sizes["rank"]
    inputs = Self.tensors(isWhole: isWhole)
      .filter { !$0.isOptional || present.contains($0.name) }.map { $0.form(sizes) }
  }

  var outputs: [TensorForm] {
    [
      TensorForm(
        name: "o", dimensions: ["batch", "tokens", "out"], sizes: [batch, tokens, sizes["out"]])
    ] + (isWhole ? factors : [])
  }
  var hasGradients: Bool { !isWhole }
  /// E and D.
  private var factors: [TensorForm] {
    [
      TensorForm(name: "e", dimensions: ["in", "rank"], sizes: [columns, rank]),
      TensorForm(name: "d", dimensions: ["rank", "out"], sizes: [rank, out]),
    ]
  }
  var isInOrder: Bool { false }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let length = columns * rank + rank * out + out
    return backward ? [.summary(floats: batch * length)] : []
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = Double(2 * rank * (columns + sizes["out"]))
    return (products, 2 * products)
  }
  func keptBytes(tokens: Int) -> Double { Double(4 * batch * tokens * rank) }
  /// `x E`, which the backward pass takes from the forward pass.
  private var hiddenForm: TensorForm {
    TensorForm(
      name: "hidden", dimensions: ["batch", "tokens", "rank"], sizes: [batch, tokens, rank])
  }

  private let rank: Int
  private let columns: Int
  private let out: Int

  /// Calls `body` with parts of the tokens of all sequences, as rows of x and of o.
  private func rows(_ tensor: MixerTensor, _ sequence: Int, _ count: Int, _ first: Int)
    -> StridedMatrix
  {
    let width = tensor.form.sizes[2]
    return unsafe StridedMatrix(tensor.base + (sequence * count + first) * width, row: width)
  }

  private func parts(_ tokens: Range<Int>) -> [Range<Int>] {
    Swift.stride(from: tokens.lowerBound, to: tokens.upperBound, by: partOfSums).map {
      $0..<min($0 + partOfSums, tokens.upperBound)
    }
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let count = line.tokens
    if isWhole { for tensor in factorize(x["w"], on: line) { result.outputs.add(tensor) } }
    let given = isWhole ? result.outputs : x
    let (e, d) = unsafe (
      StridedMatrix(given["e"].base, row: rank), StridedMatrix(given["d"].base, row: out)
    )
    let bias = x.find("bias")
    let kept = keeping ? MixerTensor(zeros: hiddenForm, tokens: count) : nil
    line.forEachSegment(units: batch) { sequence, tokens, poll in
      var scratch = Scratch(count: partOfSums * rank, parts: 1)
      let hidden = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
      for part in parts(tokens) {
        let target = rows(o, sequence, count, part.lowerBound)
        let hidden = kept.map { rows($0, sequence, count, part.lowerBound) } ?? hidden
        multiply(
          rows(x["x"], sequence, count, part.lowerBound), e, into: hidden, rows: part.count,
          depth: columns, columns: rank)
        if let bias {
          for row in 0..<part.count {
            unsafe (target.base + row * out).update(from: bias.base, count: out)
          }
        }
        multiply(
          hidden, d, into: target, rows: part.count, depth: rank, columns: out,
          adding: bias != nil)
        poll()
      }
    }
    if let kept { result.kept.add(kept) }
    return result
  }

  private func factorize(_ w: MixerTensor, on line: RankLine) -> [MixerTensor] {
    let found = SingularFactors(of: w, rank: rank, on: line)
    return zip(factors, [found.e, found.d]).map { form, numbers in
      let tensor = MixerTensor(zeros: form, tokens: 0)
      for (place, number) in numbers.enumerated() { unsafe tensor.base[place] = Float(number) }
      return tensor
    }
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    precondition(hasGradients, "gradients of a matrix through its factors")
    let gradients = zeroGradients(on: line)
    let length = columns * rank + rank * out + out
    let sums = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["batch", "sums"], sizes: [batch, length]), tokens: 0)
    let (count, dx) = (line.tokens, gradients["dx"])
    let (turnedE, turnedD) = (turned(x["e"]), turned(x["d"]))
    let kept = result.kept["hidden"]
    let hasBias = x.find("bias") != nil
    unsafe line.addUp(units: batch, to: sums) { sequence, tokens, total, poll in
      var scratch = Scratch(count: partOfSums * rank, parts: 1)
      let ofHidden = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
      for part in parts(tokens) {
        let (first, size) = (part.lowerBound, part.count)
        let (x, g) = (
          rows(x["x"], sequence, count, first), rows(gradient, sequence, count, first)
        )
        unsafe multiply(
          g, StridedMatrix(turnedD.base, row: rank), into: ofHidden, rows: size, depth: out,
          columns: rank)
        unsafe multiply(
          ofHidden, StridedMatrix(turnedE.base, row: columns),
          into: rows(dx, sequence, count, first), rows: size, depth: rank, columns: columns)
        unsafe addProducts(
          x, ofHidden, size, rows: columns, columns: rank, to: total, poll)
        unsafe addProducts(
          rows(kept, sequence, count, first), g, size, rows: rank, columns: out,
          to: total + columns * rank, poll)
        if !hasBias { continue }
        let ofBias = unsafe total + columns * rank + rank * out
        for row in 0..<size {
          for column in 0..<out { unsafe ofBias[column] += Double(g.base[row * out + column]) }
        }
      }
    }
    try Summary.sum.combine(sums, on: line)
    for sequence in 0..<batch {
      var place = sequence * length
      for (name, size) in [("de", columns * rank), ("dd", rank * out), ("dbias", out)] {
        if let target = gradients.find(name) {
          for index in 0..<size { unsafe target.base[index] += sums.base[place + index] }
        }
        place += size
      }
    }
    return gradients
  }

  /// A matrix with its rows for columns.
  private func turned(_ matrix: MixerTensor) -> MixerTensor {
    let (rows, columns) = (matrix.form.sizes[0], matrix.form.sizes[1])
    let result = MixerTensor(
      zeros: TensorForm(
        name: "turned", dimensions: ["columns", "rows"], sizes: [columns, rows]), tokens: 0)
    unsafe StridedMatrix(matrix.base, row: columns).transpose(
      into: StridedMatrix(result.base, row: rows), rows: rows, columns: columns)
    return result
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let x = inputs["x"] else { return [:] }
    if isWhole {
      let (e, d) = referenceFactors(inputs["w"] ?? [], rows: columns, columns: out, rank: rank)
      let o = referenceLED(
        x: x, e: e, d: d, bias: inputs["bias"] ?? [], rank: rank, outputs: out)
      return ["o": o, "e": e, "d": d]
    }
    guard let e = inputs["e"], let d = inputs["d"] else { return [:] }
    return [
      "o": referenceLED(
        x: x, e: e, d: d, bias: inputs["bias"] ?? [], rank: rank, outputs: out)
    ]
  }
}
