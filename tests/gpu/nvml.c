/* A double of libnvidia-ml.so.1, with two processors. Like the real one it opens a device when it starts, and asks it each time:
   when that is refused it has no figures. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;

static int device = -1;

static int ask(void) {
    /* 0 is NVML_SUCCESS, 999 an unknown error. /dev/null does not know this number: ENOTTY is its answer, and no filter's. */
    char answer[32];
    return ioctl(device, _IOWR('F', 42, answer), answer) == -1 && errno == ENOTTY ? 0 : 999;
}

int nvmlInit_v2(void) { return (device = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 ? 999 : 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return ask(); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)(unsigned long)(index + 1); return ask(); }
int nvmlDeviceGetUtilizationRates(void *handle, utilization *rates) {
    rates->gpu = 37 + (unsigned)(unsigned long)handle;
    rates->memory = 5;
    return ask();
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, memory *info) {
    (void)handle;
    info->total = 16ULL << 30;
    info->used = 3ULL << 30;
    info->free = 13ULL << 30;
    info->reserved = 0;
    return ask();
}
/* Not all processors tell it: NVML_ERROR_NOT_SUPPORTED. */
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = 61;
    return handle == (void *)1 ? ask() : 3;
}
