import Compute
import Glibc
import MPI
import Sharding
import Tensors

/// Tokens of a rank and the landmarks of the sequence.
struct SOFTRows: Sendable {
  private let mixer: SOFT
  private let q: MixerTensor
  private let v: MixerTensor
  private let count: Int
  /// The landmark of each token.
  private let own: [Int]
  private var m: Int { mixer.landmarks }
  private var d: Int { mixer.d }
  private var c: Int { mixer.c }

  init(_ mixer: SOFT, _ x: MixerTensors, on line: RankLine) {
    self.mixer = mixer
    (q, v, count) = (x["q"], x["v"], line.tokens)
    own = line.runs.flatMap { Array($0) }.map { mixer.landmark(at: $0) }
  }

  private func rows(_ tensor: MixerTensor, _ unit: Int) -> StridedMatrix {
    unsafe headRows(tensor, unit, heads: mixer.sizes["heads"], tokens: count)
  }

  private func numbers(_ name: String, _ columns: Int) -> MixerTensor {
    MixerTensor(
      zeros: TensorForm(
        name: name, dimensions: ["units", "landmarks", "columns"],
        sizes: [mixer.units, m, columns]), tokens: 0)
  }

  private func forEachPart(_ tokens: Range<Int>, _ body: (Range<Int>) -> Void) {
    for start in Swift.stride(from: tokens.lowerBound, to: tokens.upperBound, by: partOfSums) {
      body(start..<min(start + partOfSums, tokens.upperBound))
    }
  }

  // MARK: Sums

  /// Landmarks, `[units, landmarks, 2, headDim]`: what a float holds, and the rest.
  ///
  /// Near landmarks make a kernel whose inverse magnifies what is lost of them.
  func means(on line: RankLine) throws(MPIError) -> MixerTensor {
    let means = numbers("means", 2 * d)
    if m == 0 { return means }
    let sums = numbers("sums", d)
    let parts = [sums, numbers("rest", d)]
    let all = DoubleSums(count: means.count / 2)
    line.compute(mixer.units) { [self] unit, poll in
      let rows = rows(q, unit)
      for token in 0..<count {
        let row = unsafe rows.base + token * rows.row
        for column in 0..<d {
          unsafe all.add(row[column], at: (unit * m + own[token]) * d + column)
        }
        if token % partOfSums == 0 { poll() }
      }
    }
    all.split(into: parts[0], rest: parts[1])
    try Summary.addUp(parts[0], rest: parts[1], on: line)
    for index in 0..<sums.count {
      let (landmark, column) = (index / d, index % d)
      let size = Double(mixer.size(of: landmark % m))
      let mean = unsafe (Double(parts[0].base[index]) + Double(parts[1].base[index])) / size
      let high = Float(mean)
      unsafe means.base[landmark * 2 * d + column] = high
      unsafe means.base[landmark * 2 * d + d + column] = Float(mean - Double(high))
    }
    return means
  }

  /// `K(L, Q)` times values, or times gradients of outputs: `[units, landmarks, valueHeadDim]`.
  func read(
    _ means: MixerTensor, _ values: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensor {
    let sums = numbers("read", c)
    unsafe line.addUp(units: mixer.units, to: sums) { [self] unit, tokens, total, poll in
      let work = SOFTWork(landmarks: m, d: d, c: c)
      unsafe work.take(means.base + unit * m * 2 * d)
      let (q, values) = (rows(q, unit), rows(values, unit))
      forEachPart(tokens) { part in
        work.weigh(q.part(row: part.lowerBound), part.count)
        unsafe addProducts(
          work.weights, values.part(row: part.lowerBound), part.count, rows: m, columns: c,
          to: total, poll)
      }
    }
    try Summary.sum.combine(sums, on: line)
    return sums
  }

  // MARK: Landmarks alone

  /// The landmarks of a unit in double precision.
  private func landmarks(_ means: MixerTensor, _ unit: Int) -> [Double] {
    (0..<m * d).map { index in
      let place = unit * m * 2 * d + index / d * 2 * d + index % d
      return unsafe Double(means.base[place]) + Double(means.base[place + d])
    }
  }

  private func doubles(_ tensor: MixerTensor, _ unit: Int) -> [Double] {
    let length = tensor.count / mixer.units
    return (unit * length..<(unit + 1) * length).map { unsafe Double(tensor.base[$0]) }
  }

  private func inverse(_ l: [Double]) -> NewtonInverse {
    NewtonInverse(kernel(l), count: m, steps: mixer.steps, isNormalized: mixer.isNormalized)
  }

  private func kernel(_ l: [Double]) -> [Double] {
    let scale = -0.5 / Double(d).squareRoot()
    return (0..<m * m).map { place in
      let (a, b) = (place / m * d, place % m * d)
      var distance = 0.0
      for column in 0..<d {
        let difference = l[a + column] - l[b + column]
        distance += difference * difference
      }
      return exp(scale * distance)
    }
  }

  /// `A⁺ K(L, Q) V`, `[units, landmarks, valueHeadDim]`.
  func middles(_ means: MixerTensor, _ read: MixerTensor, on line: RankLine) -> MixerTensor {
    let middle = numbers("middle", c)
    if m == 0 { return middle }
    line.compute(mixer.units) { [self] unit, _ in
      let inverse = inverse(landmarks(means, unit)).inverse
      let product = multipliedRows(inverse, doubles(read, unit), rows: m, depth: m, columns: c)
      for (index, number) in product.enumerated() {
        unsafe middle.base[unit * m * c + index] = Float(number)
      }
    }
    return middle
  }

  /// The gradients of `K(L, Q) V` and, by the inverse, of landmarks.
  func middleGradients(
    _ means: MixerTensor, _ read: MixerTensor, _ ofMiddle: MixerTensor, on line: RankLine
  ) -> (ofRead: MixerTensor, ofMeans: MixerTensor) {
    let (ofRead, ofMeans) = (numbers("ofRead", c), numbers("ofMeans", d))
    if m == 0 { return (ofRead, ofMeans) }
    line.compute(mixer.units) { [self] unit, _ in
      let (l, u, g) = (landmarks(means, unit), doubles(read, unit), doubles(ofMiddle, unit))
      let newton = inverse(l)
      let turned = (0..<m * m).map { newton.inverse[$0 % m * m + $0 / m] }
      let product = multipliedRows(turned, g, rows: m, depth: m, columns: c)
      for (index, number) in product.enumerated() {
        unsafe ofRead.base[unit * m * c + index] = Float(number)
      }
      let turnedRead = (0..<c * m).map { u[$0 % m * c + $0 / m] }
      let ofInverse = multipliedRows(g, turnedRead, rows: m, depth: c, columns: m)
      let (ofKernel, kernel) = (newton.gradient(ofInverse), kernel(l))
      let scale = -1 / Double(d).squareRoot()
      for a in 0..<m {
        for column in 0..<d {
          var sum = 0.0
          for b in 0..<m {
            sum +=
              (ofKernel[a * m + b] + ofKernel[b * m + a]) * kernel[a * m + b]
              * (l[a * d + column] - l[b * d + column])
          }
          unsafe ofMeans.base[(unit * m + a) * d + column] = Float(scale * sum)
        }
      }
    }
    return (ofRead, ofMeans)
  }

  // MARK: Tokens

  /// `K(Q, L)` times what was computed of landmarks.
  func write(
    _ means: MixerTensor, _ middle: MixerTensor, into o: MixerTensor, on line: RankLine
  ) {
    line.forEachSegment(units: mixer.units) { [self] unit, tokens, poll in
      let work = SOFTWork(landmarks: m, d: d, c: c)
      unsafe work.take(means.base + unit * m * 2 * d)
      let middle = unsafe StridedMatrix(middle.base + unit * m * c, row: c)
      forEachPart(tokens) { part in
        work.weigh(rows(q, unit).part(row: part.lowerBound), part.count)
        multiply(
          work.weights, middle, into: rows(o, unit).part(row: part.lowerBound),
          rows: part.count, depth: m, columns: c)
        poll()
      }
    }
  }

  /// Gradients of queries and values.
  ///
  /// Landmarks are means of queries, so that their gradients, a sum over all tokens, go to these.
  func gradients(
    _ means: MixerTensor, _ middle: MixerTensor, _ ofRead: MixerTensor, _ ofMeans: MixerTensor,
    _ gradient: MixerTensor, queries dq: MixerTensor, values dv: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    // Of each landmark l: Σ E q, and Σ E after them.
    let sums = numbers("ofMeans", d + 1)
    unsafe line.addUp(units: mixer.units, to: sums) { [self] unit, tokens, total, poll in
      let work = SOFTWork(landmarks: m, d: d, c: c)
      unsafe work.take(means.base + unit * m * 2 * d)
      unsafe work.take(middle: middle.base + unit * m * c, ofRead: ofRead.base + unit * m * c)
      let read = unsafe StridedMatrix(ofRead.base + unit * m * c, row: c)
      forEachPart(tokens) { part in
        let first = part.lowerBound
        let (q, v, g) = (
          rows(q, unit).part(row: first), rows(v, unit).part(row: first),
          rows(gradient, unit).part(row: first)
        )
        work.weigh(q, part.count)
        multiply(
          work.weights, read, into: rows(dv, unit).part(row: first), rows: part.count, depth: m,
          columns: c)
        work.slopes(v, g, part.count)
        unsafe addProducts(work.weights, q, part.count, rows: m, columns: d, to: total, poll)
        unsafe work.finish(
          q, part.count, into: rows(dq, unit).part(row: first), sums: total + m * d)
      }
    }
    try Summary.sum.combine(sums, on: line)
    line.forEachSegment(units: mixer.units) { [self] unit, tokens, _ in
      let target = rows(dq, unit)
      for token in tokens {
        let landmark = own[token]
        let share = 1 / Float(mixer.size(of: landmark))
        let row = unsafe target.base + token * target.row
        let (all, mean) = unsafe (
          sums.base + unit * m * (d + 1), means.base + (unit * m + landmark) * 2 * d
        )
        for column in 0..<d {
          let byTokens = unsafe all[m * d + landmark] * mean[column] - all[landmark * d + column]
          let byOthers = unsafe ofMeans.base[(unit * m + landmark) * d + column]
          unsafe row[column] += (byTokens + byOthers) * share
        }
      }
    }
  }
}

/// The landmarks of one head, and the kernel between them and some tokens.
@safe
struct SOFTWork: ~Copyable {
  private let m: Int
  private let d: Int
  private let c: Int
  private let scratch: Scratch
  private let landmarks: StridedMatrix
  private let turned: StridedMatrix
  /// `[tokens, landmarks]`: the kernel, and then the gradients of halves of squared distances.
  let weights: StridedMatrix
  private let products: StridedMatrix
  private let turnedMiddle: StridedMatrix
  private let turnedRead: StridedMatrix

  init(landmarks m: Int, d: Int, c: Int) {
    (self.m, self.d, self.c) = (m, d, c)
    var scratch = Scratch(count: 2 * m * (d + c) + 2 * partOfSums * m, parts: 6)
    landmarks = unsafe StridedMatrix(scratch.take(m * d), row: d)
    turned = unsafe StridedMatrix(scratch.take(m * d), row: m)
    weights = unsafe StridedMatrix(scratch.take(partOfSums * m), row: m)
    products = unsafe StridedMatrix(scratch.take(partOfSums * m), row: m)
    turnedMiddle = unsafe StridedMatrix(scratch.take(m * c), row: m)
    turnedRead = unsafe StridedMatrix(scratch.take(m * c), row: m)
    self.scratch = scratch
  }

  /// Takes landmarks, `[landmarks, 2, headDim]`.
  @unsafe
  func take(_ means: UnsafeMutablePointer<Float>) {
    let first = unsafe StridedMatrix(means, row: 2 * d)
    first.copy(to: landmarks, rows: m, columns: d)
    first.transpose(into: turned, rows: m, columns: d)
  }

  /// Takes what was computed of landmarks, and the gradients of what they have read.
  @unsafe
  func take(middle: UnsafeMutablePointer<Float>, ofRead: UnsafeMutablePointer<Float>) {
    unsafe StridedMatrix(middle, row: c).transpose(into: turnedMiddle, rows: m, columns: c)
    unsafe StridedMatrix(ofRead, row: c).transpose(into: turnedRead, rows: m, columns: c)
  }

  /// The kernel of some tokens, by differences: those of squares would lose digits.
  func weigh(_ q: StridedMatrix, _ count: Int) {
    let scale = Vector(repeating: -0.5 / Float(d).squareRoot())
    for token in 0..<count {
      let (row, target) = unsafe (q.base + token * q.row, weights.base + token * m)
      forEachVector(m) { landmark in
        var distance = Vector.zero
        if landmark + 8 <= m {
          for column in 0..<d {
            let difference =
              unsafe Vector(loading: turned.base, at: column * m + landmark)
              - Vector(repeating: row[column])
            distance.addProduct(difference, difference)
          }
        } else {
          for column in 0..<d {
            let difference =
              unsafe Vector(
                loading: turned.base + column * m, at: landmark, of: m)
              - Vector(repeating: row[column])
            distance.addProduct(difference, difference)
          }
        }
        let weight = vanishingExp(distance * scale)
        unsafe weight.store(to: target, at: landmark, of: m)
      }
    }
  }

  /// Makes of the kernel the gradients of halves of squared distances.
  func slopes(_ v: StridedMatrix, _ gradient: StridedMatrix, _ count: Int) {
    multiply(gradient, turnedMiddle, into: products, rows: count, depth: c, columns: m)
    multiply(v, turnedRead, into: products, rows: count, depth: c, columns: m, adding: true)
    let scale = -1 / Float(d).squareRoot()
    for place in 0..<count * m {
      unsafe weights.base[place] *= products.base[place] * scale
    }
  }

  /// Writes the gradients of queries, `Σ E (q − l)`, and adds up E of each landmark.
  @unsafe
  func finish(
    _ q: StridedMatrix, _ count: Int, into dq: StridedMatrix, sums: UnsafeMutablePointer<Double>
  ) {
    multiply(weights, landmarks, into: dq, rows: count, depth: m, columns: d)
    for token in 0..<count {
      var sum = Vector.zero
      forEachVector(m) { landmark in
        let x = unsafe Vector(loading: weights.base + token * m, at: landmark, of: m)
        sum += x
        for lane in 0..<min(8, m - landmark) { unsafe sums[landmark + lane] += Double(x[lane]) }
      }
      let factor = sum.laneSum
      let (row, target) = unsafe (q.base + token * q.row, dq.base + token * dq.row)
      for column in 0..<d {
        unsafe target[column] = factor * row[column] - target[column]
      }
    }
  }
}
