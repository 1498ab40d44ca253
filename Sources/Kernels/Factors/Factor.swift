import AttentionTypes

/// What products are computed of: numbers of `Float`, or pairs of bf16 numbers.
///
/// A step of a product multiplies one factor of each row by one row of a panel. A factor of more
/// than one number adds as many products, so that a product has fewer steps: panels are
/// `[steps][W]` factors, with `steps` the number of terms divided by ``depth``, rounded up.
protocol Factor: BitwiseCopyable, Sendable {
  /// Numbers of a factor.
  static var depth: Int { get }

  /// A factor of zeros.
  static var zero: Self { get }

  // MARK: Register tiles

  /// Rows of a register tile, and of a group of rows.
  static var groupRows: Int { get }

  /// Factors of a row that lie one after the other, and that products have multiples of.
  static var stepRun: Int { get }

  /// Writes the product of a group of rows and a panel, or adds it to what is there.
  ///
  /// - Parameters:
  ///   - rows: factor `(r, s)` lies at `r · rowStride + s / stepRun · runStride + s % stepRun`. One
  ///     of the strides should be a constant at the call, so that all addresses are one register
  ///     and a displacement.
  ///   - panel: `[steps][W]`.
  ///   - steps: a multiple of ``stepRun``.
  ///   - scale: what the product is multiplied by; nil for 1.
  ///   - target: where it goes, rows `stride` floats apart.
  @unsafe static func multiply(
    rows: UnsafePointer<Self>, rowStride: Int, runStride: Int, panel: UnsafePointer<Self>,
    steps: Int, scale: Float?, to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool)

  /// Makes ``stepRun`` vectors of factors the runs of as many rows.
  ///
  /// - Parameters:
  ///   - target: `[Vector.width][stepRun]`.
  ///   - lanes: vector `index`, a factor for each row.
  @unsafe static func turn(
    to target: UnsafeMutablePointer<Self>, _ lanes: (_ index: Int) -> Lanes)

  /// Called by a thread before its first product and after its last.
  static func beginPass()
  static func endPass()

  /// One number, as a factor holds it.
  associatedtype Number: BitwiseCopyable

  /// A vector of factors.
  associatedtype Lanes: BitwiseCopyable

  /// The same factor in every lane.
  static func lanes(repeating factor: Self) -> Lanes

  /// Adds the products of two vectors of factors, lane by lane.
  static func addProducts(of a: Lanes, _ b: Lanes, to sum: inout Vector)

  // MARK: Making factors

  /// Makes one factor of up to ``depth`` packed numbers, and zeros.
  ///
  /// - Parameters:
  ///   - source: the first of them; the next is `stride` elements on.
  ///   - scale: what number `index` of them is a multiple of.
  @unsafe static func factor<Element: PackedElement>(
    of source: UnsafePointer<Element>, stride: Int, count: Int, scale: (_ index: Int) -> Float
  ) -> Self

  /// Makes a vector of factors of up to ``depth`` vectors of packed numbers, and zeros.
  ///
  /// - Parameters:
  ///   - source: the first of them; the next is `stride` elements on.
  ///   - scales: what vector `index` of them is multiples of.
  @unsafe static func lanes<Element: PackedElement>(
    of source: UnsafePointer<Element>, stride: Int, count: Int, scales: (_ index: Int) -> Vector
  ) -> Lanes

  /// Makes a vector of factors of up to ``depth`` vectors of numbers, and zeros.
  ///
  /// - Parameters:
  ///   - source: the first of them; the next is `stride` elements on.
  ///   - count: how many there are, which may be more than fit or none.
  ///   - scale: what they are multiplied by.
  @unsafe static func lanes(
    of source: UnsafePointer<Float>, stride: Int, count: Int, _ scale: Vector
  ) -> Lanes

  /// Makes a vector of factors of the numbers of ``depth`` vectors in the same lane.
  static func lanes(_ number: (_ index: Int) -> Vector) -> Lanes

  // MARK: Products

  /// Whether scores are scaled once they are computed; else queries are when they are packed.
  ///
  /// Numbers of 8 bits would be rounded anew if they were scaled.
  static var scalesScores: Bool { get }

  /// Whether softmax scales scores where nothing else asks for them: products would have to be
  /// multiplied in memory.
  static var softmaxScalesScores: Bool { get }

  /// Whether weights are rounded when they become factors.
  static var roundsWeights: Bool { get }

  /// The sum of some factors of weights; 0 where nothing asks for it.
  ///
  /// - Parameters:
  ///   - weights: of a row.
  ///   - keys: whose they are; bounds are multiples of two vectors.
  @unsafe static func sum(of weights: UnsafePointer<Self>, in keys: Range<Int>) -> Float

  /// Called before some products, with ``endProducts(_:)`` after them.
  static func beginProducts() -> UInt32

  /// Ends what ``beginProducts()`` began.
  static func endProducts(_ before: UInt32)

  /// Makes weights of one row the factors of a product, in place.
  ///
  /// - Parameters:
  ///   - weights: two vectors of neighbouring numbers.
  ///   - place: where factors go, one for each ``depth`` of them.
  @unsafe static func store(
    _ weights: (Vector, Vector), to place: UnsafeMutablePointer<Self>)
}

extension Factor {
  /// The factors of `count` numbers, filled up to whole runs.
  @inline(__always)
  static func steps(of count: Int) -> Int {
    let numbers = depth * stepRun
    return (count + numbers - 1) / numbers * stepRun
  }

  @inline(__always) static var stepRun: Int { 1 }
  @inline(__always) static var softmaxScalesScores: Bool { false }

  @unsafe @inline(__always)
  static func turn(
    to target: UnsafeMutablePointer<Self>, _ lanes: (_ index: Int) -> Lanes
  ) {
    preconditionFailure("factors that lie in no runs need not be turned")
  }

  @inline(__always) static func beginPass() {}
  @inline(__always) static func endPass() {}

  /// Loads a vector of factors, at any alignment.
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<Self>, at offset: Int) -> Lanes {
    unsafe UnsafeRawPointer(pointer + offset).loadUnaligned(as: Lanes.self)
  }

  /// Stores a vector of factors, at any alignment.
  @unsafe @inline(__always)
  static func store(_ lanes: Lanes, to pointer: UnsafeMutablePointer<Self>, at offset: Int) {
    unsafe UnsafeMutableRawPointer(pointer + offset).storeBytes(of: lanes, as: Lanes.self)
  }

  @inline(__always) static func beginProducts() -> UInt32 { 0 }
  @inline(__always) static func endProducts(_ before: UInt32) {}
}

extension Float: Factor {
  @inline(__always) static var depth: Int { 1 }
  typealias Number = Float
  @inline(__always) static var roundsWeights: Bool { false }
  @unsafe @inline(__always)
  static func sum(of weights: UnsafePointer<Float>, in keys: Range<Int>) -> Float { 0 }

  @inline(__always) static var scalesScores: Bool { false }

  @inline(__always)
  static func lanes(repeating factor: Float) -> Vector { Vector(repeating: factor) }

  @inline(__always)
  static func addProducts(of a: Vector, _ b: Vector, to sum: inout Vector) {
    sum.addProduct(a, b)
  }

  @unsafe @inline(__always)
  static func factor<Element: PackedElement>(
    of source: UnsafePointer<Element>, stride: Int, count: Int, scale: (_ index: Int) -> Float
  ) -> Float {
    unsafe source[0].widened * scale(0)
  }

  @unsafe @inline(__always)
  static func lanes<Element: PackedElement>(
    of source: UnsafePointer<Element>, stride: Int, count: Int, scales: (_ index: Int) -> Vector
  ) -> Vector {
    unsafe Element.load(source, by: scales(0))
  }

  @unsafe @inline(__always)
  static func lanes(
    of source: UnsafePointer<Float>, stride: Int, count: Int, _ scale: Vector
  ) -> Vector {
    count > 0 ? unsafe Vector(loading: source, at: 0) * scale : Vector()
  }

  @inline(__always)
  static func lanes(_ number: (_ index: Int) -> Vector) -> Vector { number(0) }

  @unsafe @inline(__always)
  static func store(
    _ weights: (Vector, Vector), to place: UnsafeMutablePointer<Float>
  ) {
    unsafe weights.0.store(to: place, at: 0)
    unsafe weights.1.store(to: place, at: Vector.width)
  }

}
