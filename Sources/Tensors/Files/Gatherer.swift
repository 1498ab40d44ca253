/// Reads slices of a tensor whose elements lie in the file in another order than the slice has
/// them: column-major, or with dimensions in another order.
///
/// The file is read in windows of at most 64 KiB, each of which takes in as many dimensions as lie
/// close together there; what belongs to the slice is then put in its place in memory. Windows
/// along the same stretch of the innermost dimensions follow each other, so that the lines of
/// memory that they share are still in cache.
struct Gatherer {
  /// A dimension along which there are several elements.
  private struct Axis {
    var count: Int
    /// From one element to the next in the file.
    let fileStride: Int
    /// From one element to the next in the slice.
    let memoryStride: Int
  }

  private let source: TensorSource
  /// The place in the file of the slice's first element.
  private let start: Int
  /// From the farthest strides in the file to the shortest.
  private let axes: [Axis]
  /// The first of the axes that a window takes in.
  private let windowAxis: Int
  /// From the first to the last element of a window along the axes after the first of its own.
  private let innerExtent: Int

  /// The most bytes of a window: their elements' lines of memory, 64 bytes for each, fit into a
  /// cache.
  private static let windowBytes = 64 << 10

  /// Prepares to read a slice, or the whole tensor.
  init(source: TensorSource, _ slice: RowSlice? = nil) {
    self.source = source
    let shape = source.shape
    var start = 0
    var axes: [Axis] = []
    var inner = 0..<shape.rank
    if let slice {
      inner = slice.axis + 1..<shape.rank
      var outer = slice.outerIndex
      for axis in (0..<slice.axis).reversed() {
        start += outer % shape[axis] * source.strides[axis]
        outer /= shape[axis]
      }
      start += slice.rows.start * source.strides[slice.axis]
      axes.append(
        Axis(
          count: slice.rows.count, fileStride: slice.rows.stride * source.strides[slice.axis],
          memoryStride: shape.stride(slice.axis)))
    }
    axes += inner.map {
      Axis(count: shape[$0], fileStride: source.strides[$0], memoryStride: shape.stride($0))
    }
    axes = axes.filter { $0.count > 1 }.sorted { $0.fileStride > $1.fileStride }
    // Always one, so that there is a window.
    if axes.isEmpty { axes = [Axis(count: 1, fileStride: 1, memoryStride: 1)] }

    let width = source.elementType.byteWidth
    var windowAxis = axes.count - 1
    var innerExtent = 1
    while windowAxis > 0 {
      let extent = innerExtent + (axes[windowAxis].count - 1) * axes[windowAxis].fileStride
      let gap = axes[windowAxis - 1].fileStride - extent
      guard gap * width <= TensorSource.sieveBytes, extent * width < Self.windowBytes else { break }
      innerExtent = extent
      windowAxis -= 1
    }
    self.start = start
    self.axes = axes
    self.windowAxis = windowAxis
    self.innerExtent = innerExtent
  }

  /// Reads the slice.
  ///
  /// - Precondition: `numbers` has exactly its element count, which is not 0.
  func read(into numbers: inout MutableSpan<Float>) throws(TensorFileError) {
    let long = axes[windowAxis]
    let width = source.elementType.byteWidth
    let isSparse = (long.fileStride - innerExtent) * width > TensorSource.sieveBytes
    let countPerWindow =
      isSparse ? 1 : max(1, (Self.windowBytes / width - innerExtent) / long.fileStride + 1)
    func extent(_ count: Int) -> Int { innerExtent + (count - 1) * long.fileStride }

    let longest = extent(min(countPerWindow, long.count))
    var bytes = unsafe AlignedBuffer<UInt8>(uninitializedCount: longest * width)
    var elements = unsafe AlignedBuffer<Float>(uninitializedCount: longest)
    for first in stride(from: 0, to: long.count, by: countPerWindow) {
      var window = long
      window.count = min(countPerWindow, long.count - first)
      var byteSpan = bytes.mutableSpan
      var byteWindow = byteSpan.part(0..<extent(window.count) * width)
      var elementSpan = elements.mutableSpan
      var elementWindow = elementSpan.part(0..<extent(window.count))
      var odometer = Odometer(axes[..<windowAxis])
      repeat {
        var raw = unsafe byteWindow.mutableBytes
        try source.readElements(
          atPlace: start + first * long.fileStride + odometer.filePlace, into: &raw)
        source.elementType.decode(unsafe byteWindow.bytes, into: &elementWindow)
        scatter(
          elementWindow.span, window, to: &numbers,
          at: first * long.memoryStride + odometer.memoryPlace)
      } while odometer.advance()
    }
  }

  /// Puts the elements of a window in their places.
  private func scatter(
    _ elements: Span<Float>, _ long: Axis, to numbers: inout MutableSpan<Float>, at place: Int
  ) {
    let all = [long] + axes[(windowAxis + 1)...]
    let innermost = all[all.count - 1]
    var odometer = Odometer(all.dropLast())
    repeat {
      var from = odometer.filePlace
      var to = place + odometer.memoryPlace
      for _ in 0..<innermost.count {
        numbers[to] = elements[from]
        from += innermost.fileStride
        to += innermost.memoryStride
      }
    } while odometer.advance()
  }

  /// Goes through all elements along some axes, the last of which moves fastest.
  private struct Odometer {
    private let axes: ArraySlice<Axis>
    private var index: [Int]
    private(set) var filePlace = 0
    private(set) var memoryPlace = 0

    init(_ axes: ArraySlice<Axis>) {
      self.axes = axes
      index = Array(repeating: 0, count: axes.count)
    }

    /// Goes on to the next element; false after the last one.
    mutating func advance() -> Bool {
      for number in index.indices.reversed() {
        let axis = axes[axes.startIndex + number]
        filePlace += axis.fileStride
        memoryPlace += axis.memoryStride
        index[number] += 1
        if index[number] < axis.count { return true }
        filePlace -= axis.count * axis.fileStride
        memoryPlace -= axis.count * axis.memoryStride
        index[number] = 0
      }
      return false
    }
  }
}
