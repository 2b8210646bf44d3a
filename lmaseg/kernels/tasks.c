/* The threads of torch's own OpenMP team where it is GNU's; else some made for the one call and gone after it.

   After each of torch's operators that team spins for some milliseconds, waiting for the next. Threads of our own
   would share their cores with it: measured on two cores between convolutions, 9.9 ms for what takes 6.0 on the team.
   Tasks are taken one by one from a counter: whoever is slow or busy takes fewer. Calls share nothing, so any number
   may run at once. */
#define _GNU_SOURCE /* for RTLD_DEFAULT */
#include "native.h"

#include <stdlib.h>

#if !defined(__STDC_NO_ATOMICS__) && !defined(_MSC_VER)
#include <stdatomic.h>
typedef atomic_int_least64_t Counter;
#define TAKE(counter) atomic_fetch_add(&(counter), 1)
#else
typedef int64_t Counter; /* then there is one thread only */
#define TAKE(counter) ((counter)++)
#define ONE_THREAD 1
#endif

#if !defined(_WIN32) && !defined(ONE_THREAD)
#include <dlfcn.h>
#include <pthread.h>
#define THREADS 1
#endif

enum { CACHE_LINE = 64, MOST_THREADS = 256 };

typedef struct {
    const Tasks *tasks;
    Counter next;
} Queue;

void *acquire(size_t bytes)
{
    char *block = malloc(bytes + CACHE_LINE + sizeof(void *));
    if (!block) return NULL;
    uintptr_t start = (uintptr_t)(block + sizeof(void *));
    char *aligned = block + sizeof(void *) + (CACHE_LINE - start % CACHE_LINE) % CACHE_LINE;
    memcpy(aligned - sizeof(void *), &block, sizeof(void *));
    return aligned;
}

void release(void *memory)
{
    void *block;
    if (!memory) return;
    memcpy(&block, (char *)memory - sizeof(void *), sizeof(void *));
    free(block);
}

/* A thread that finds no memory leaves its share to the others. */
static void work(void *data)
{
    Queue *queue = data;
    const Tasks *tasks = queue->tasks;
    void *scratch = acquire(tasks->scratch);
    if (!scratch) return;
    for (int64_t index; (index = (int64_t)TAKE(queue->next)) < tasks->count;)
        tasks->run(tasks->context, scratch, index);
    release(scratch);
}

#ifdef THREADS
static void *work_in_thread(void *data)
{
    work(data);
    return NULL;
}

static void work_in_threads(Queue *queue, int threads)
{
    typedef void Team(void (*work)(void *), void *data, unsigned threads, unsigned flags);
    Team *team = NULL;
    *(void **)&team = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    if (team) {
        team(work, queue, (unsigned)threads, 0);
        return;
    }
    pthread_t helpers[MOST_THREADS];
    int started = 0;
    while (started < threads - 1 && pthread_create(&helpers[started], NULL, work_in_thread, queue) == 0) started++;
    work(queue);
    while (started > 0) pthread_join(helpers[--started], NULL);
}
#else
static void work_in_threads(Queue *queue, int threads)
{
    (void)threads;
    work(queue);
}
#endif

int run_tasks(const Tasks *tasks, int threads)
{
    Queue queue = {tasks, 0};
    threads = (int)least(most(threads, 1), least(tasks->count, MOST_THREADS));
    work_in_threads(&queue, threads);
    return (int64_t)queue.next >= tasks->count;
}
