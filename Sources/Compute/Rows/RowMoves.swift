extension ThreadTeam {
  /// Copies some columns of rows to rows that have no others, on all threads.
  ///
  /// - Parameters:
  ///   - columns: of `rows`.
  ///   - rows: `[rows, width]`.
  ///   - bias: is added; one for each of the columns, or empty.
  ///   - target: `[rows, columns.count]`.
  public func copy(
    columns: Range<Int>, of rows: borrowing Span<Float>, width: Int, bias: borrowing Span<Float>,
    to target: inout MutableSpan<Float>
  ) {
    let (first, count) = (columns.lowerBound, columns.count)
    if count == 0 || target.count == 0 { return }
    precondition(
      rows.count % width == 0 && target.count == rows.count / width * count && first >= 0
        && columns.upperBound <= width && (bias.isEmpty || bias.count == count), "other rows")
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe target.withUnsafeMutableBufferPointer { target in
        unsafe bias.withUnsafeBufferPointer { bias in
          guard let from = rows.baseAddress, let to = target.baseAddress else { return }
          nonisolated(unsafe) let (source, result) = unsafe (from, to)
          nonisolated(unsafe) let addends = bias.isEmpty ? nil : bias.baseAddress
          forEachPart(of: rows.count / width, cost: count) { part in
            for row in part {
              let (a, b) = unsafe (source + row * width + first, result + row * count)
              if let addends = unsafe addends {
                for column in 0..<count { unsafe b[column] = a[column] + addends[column] }
              } else {
                unsafe b.update(from: a, count: count)
              }
            }
          }
        }
      }
    }
  }

  /// Adds the same numbers to each row, on all threads.
  ///
  /// - Parameter rows: `[rows, bias.count]`; of no bias nothing is added.
  public func add(bias: borrowing Span<Float>, to rows: inout MutableSpan<Float>) {
    let width = bias.count
    if width == 0 { return }
    precondition(rows.count % width == 0, "rows of another width")
    unsafe rows.withUnsafeMutableBufferPointer { rows in
      unsafe bias.withUnsafeBufferPointer { bias in
        guard let base = rows.baseAddress, let first = bias.baseAddress else { return }
        nonisolated(unsafe) let (all, addends) = unsafe (base, first)
        forEachPart(of: rows.count / width, cost: width) { part in
          for row in part {
            for column in 0..<width { unsafe all[row * width + column] += addends[column] }
          }
        }
      }
    }
  }

  /// Adds numbers to as many others, on all threads.
  public func add(_ source: borrowing Span<Float>, to target: inout MutableSpan<Float>) {
    precondition(source.count == target.count, "as many numbers")
    unsafe source.withUnsafeBufferPointer { source in
      unsafe target.withUnsafeMutableBufferPointer { target in
        guard let first = source.baseAddress, let place = target.baseAddress else { return }
        nonisolated(unsafe) let (from, to) = unsafe (first, place)
        forEachPart(of: source.count) { part in
          for index in part { unsafe to[index] += from[index] }
        }
      }
    }
  }

  /// Copies some rows to rows that lie one after the other, on all threads.
  ///
  /// - Parameters:
  ///   - indices: of the rows that are copied.
  ///   - rows: `[rows, width]`.
  ///   - target: `[indices.count, width]`.
  public func gather(
    _ indices: [Int], of rows: borrowing Span<Float>, width: Int,
    to target: inout MutableSpan<Float>
  ) {
    let count = width == 0 ? 0 : rows.count / width
    precondition(target.count == indices.count * width, "room for other rows")
    precondition(indices.allSatisfy { $0 >= 0 && $0 < count }, "rows that are not there")
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe target.withUnsafeMutableBufferPointer { target in
        guard let from = rows.baseAddress, let to = target.baseAddress else { return }
        nonisolated(unsafe) let (source, result) = unsafe (from, to)
        forEachPart(of: indices.count, cost: width) { part in
          for row in part {
            unsafe (result + row * width).update(from: source + indices[row] * width, count: width)
          }
        }
      }
    }
  }

  /// Adds rows with a bias, each times a number of its own, to some other rows, on all threads.
  ///
  /// - Parameters:
  ///   - rows: `[indices.count, width]`.
  ///   - bias: `[width]`, added before; or empty.
  ///   - weights: one for each row.
  ///   - indices: of the rows that are added to, none twice.
  ///   - target: `[rows, width]`.
  public func add(
    _ rows: borrowing Span<Float>, bias: borrowing Span<Float>, times weights: [Float], width: Int,
    to target: inout MutableSpan<Float>, at indices: [Int]
  ) {
    let count = width == 0 ? 0 : target.count / width
    precondition(
      rows.count == indices.count * width && weights.count == indices.count
        && (bias.isEmpty || bias.count == width), "other rows")
    precondition(indices.allSatisfy { $0 >= 0 && $0 < count }, "rows that are not there")
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe target.withUnsafeMutableBufferPointer { target in
        unsafe bias.withUnsafeBufferPointer { bias in
          guard let from = rows.baseAddress, let to = target.baseAddress else { return }
          nonisolated(unsafe) let (source, result) = unsafe (from, to)
          nonisolated(unsafe) let addends = bias.isEmpty ? nil : bias.baseAddress
          forEachPart(of: indices.count, cost: 2 * width) { part in
            for row in part {
              let (a, b) = unsafe (source + row * width, result + indices[row] * width)
              let weight = weights[row]
              if let addends = unsafe addends {
                for column in 0..<width {
                  unsafe b[column] += weight * (a[column] + addends[column])
                }
              } else {
                for column in 0..<width { unsafe b[column] += weight * a[column] }
              }
            }
          }
        }
      }
    }
  }
}
