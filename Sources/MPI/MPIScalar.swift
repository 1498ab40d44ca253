internal import COpenMPI

/// An element type that MPI can compute with: what the built-in reduction operators take.
///
/// Moving data needs no such type: sends, gathers and the like take any `BitwiseCopyable` element
/// (`Float16` among them, for which MPI has no type) and move its bytes.
public protocol MPIScalar: BitwiseCopyable, Sendable {
  /// The MPI type with the same bits.
  static var scalarType: MPIScalarType { get }
}

/// The MPI types that ``MPIScalar`` types stand for.
///
/// C: the predefined datatypes, MPI 3.1 §3.2.2.
public enum MPIScalarType: Sendable, Hashable {
  /// `MPI_FLOAT`, `MPI_DOUBLE`.
  case float32, float64
  /// `MPI_INT8_T` to `MPI_INT64_T`.
  case int8, int16, int32, int64
  /// `MPI_UINT8_T` to `MPI_UINT64_T`.
  case uint8, uint16, uint32, uint64
}

extension MPIScalarType {
  var datatype: DatatypeHandle {
    switch self {
    case .float32: unsafe DatatypeHandle(copenmpi_float())
    case .float64: unsafe DatatypeHandle(copenmpi_double())
    case .int8: unsafe DatatypeHandle(copenmpi_int8())
    case .int16: unsafe DatatypeHandle(copenmpi_int16())
    case .int32: unsafe DatatypeHandle(copenmpi_int32())
    case .int64: unsafe DatatypeHandle(copenmpi_int64())
    case .uint8: unsafe DatatypeHandle(copenmpi_uint8())
    case .uint16: unsafe DatatypeHandle(copenmpi_uint16())
    case .uint32: unsafe DatatypeHandle(copenmpi_uint32())
    case .uint64: unsafe DatatypeHandle(copenmpi_uint64())
    }
  }
}

extension Float: MPIScalar {
  /// `MPI_FLOAT`.
  public static var scalarType: MPIScalarType { .float32 }
}
extension Double: MPIScalar {
  /// `MPI_DOUBLE`.
  public static var scalarType: MPIScalarType { .float64 }
}
extension Int8: MPIScalar {
  /// `MPI_INT8_T`.
  public static var scalarType: MPIScalarType { .int8 }
}
extension Int16: MPIScalar {
  /// `MPI_INT16_T`.
  public static var scalarType: MPIScalarType { .int16 }
}
extension Int32: MPIScalar {
  /// `MPI_INT32_T`.
  public static var scalarType: MPIScalarType { .int32 }
}
extension Int64: MPIScalar {
  /// `MPI_INT64_T`.
  public static var scalarType: MPIScalarType { .int64 }
}
extension Int: MPIScalar {
  /// `MPI_INT64_T`: words have 64 bits on every platform that this package runs on.
  public static var scalarType: MPIScalarType { .int64 }
}
extension UInt8: MPIScalar {
  /// `MPI_UINT8_T`.
  public static var scalarType: MPIScalarType { .uint8 }
}
extension UInt16: MPIScalar {
  /// `MPI_UINT16_T`.
  public static var scalarType: MPIScalarType { .uint16 }
}
extension UInt32: MPIScalar {
  /// `MPI_UINT32_T`.
  public static var scalarType: MPIScalarType { .uint32 }
}
extension UInt64: MPIScalar {
  /// `MPI_UINT64_T`.
  public static var scalarType: MPIScalarType { .uint64 }
}
